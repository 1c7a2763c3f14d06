import { mkdtempSync, utimesSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import compression from 'compression'
import express, { type Express, type RequestHandler, type Response } from 'express'
import type { requestText } from '../../support/wire.ts'

/** What a route of Express does, between `layers`: the cache, or nothing. */
export interface ExpressCase {
  readonly name: string
  readonly mount: (app: Express, layers: RequestHandler[], watcher: RequestHandler) => void
  readonly isStored?: false
  readonly isValidated?: true
  /** Where the handler answers HEAD with other fields than GET. */
  readonly isOtherForHead?: true
  readonly ask?: Parameters<typeof requestText>
}

const folder = mkdtempSync(join(tmpdir(), 'files-'))
for (const [name, text] of [
  ['page.html', '<p>page</p>'],
  ['long.txt', 'long '.repeat(40_000)],
]) {
  writeFileSync(join(folder, name!), text!)
  utimesSync(join(folder, name!), 1_700_000_000, 1_700_000_000)
}

const gzip = { headers: 'Accept-Encoding: gzip\r\n' }

function handled(
  name: string,
  handle: (res: Response, next: (error: unknown) => void) => unknown,
  more: Partial<ExpressCase> = {},
): ExpressCase {
  return {
    name,
    mount: (app, layers, watcher) =>
      void app.get('/', ...layers, watcher, (_req, res, next) => {
        handle(res, next)
      }),
    ...more,
  }
}

const unstored = { isStored: false } as const

/** An error that shows the same wherever it was made. */
function mine(): Error {
  return Object.assign(new Error('mine'), { stack: 'mine' })
}

/** What handlers do with Express. */
export const EXPRESS_CASES: readonly ExpressCase[] = [
  handled('res.send(text)', (res) => res.send('tëxt')),
  handled('res.send(Buffer)', (res) => res.send(Buffer.from([0, 255, 13, 10]))),
  handled('res.send(object)', (res) => res.send({ a: [1, null, 'ë'] })),
  handled("res.send('')", (res) => res.send('')),
  handled('res.send()', (res) => res.send()),
  handled('res.status().send()', (res) => res.status(203).send('text')),
  handled('res.json()', (res) => res.json({ a: 1 })),
  handled('res.json(null)', (res) => res.json(null)),
  handled('res.jsonp()', (res) => res.jsonp({ a: '\u2028' }), { ask: ['GET', '/?callback=done'] }),
  handled('res.redirect()', (res) => res.redirect('/there?a=1'), unstored),
  handled('res.redirect(301)', (res) => res.redirect(301, '/there'), {
    ask: ['GET', '/', { headers: 'Accept: text/html\r\n' }],
  }),
  handled('res.sendStatus()', (res) => res.sendStatus(204)),
  handled('res.attachment()', (res) => res.attachment('page.pdf').send('text')),
  handled('res.download()', (res) => res.download(join(folder, 'page.html'), 'my page.html', { maxAge: '1h' })),
  handled('res.sendFile()', (res) => res.sendFile(join(folder, 'page.html')), { isValidated: true }),
  handled('res.sendFile() of a long file', (res) => res.sendFile(join(folder, 'long.txt'), { cacheControl: false })),
  handled('res.sendFile() with max-age', (res) => res.sendFile(join(folder, 'page.html'), { maxAge: '1h' })),
  handled('res.sendFile() of no file', (res, next) => res.sendFile(join(folder, 'none'), next), unstored),
  handled('res.format()', (res) => res.format({ text: () => res.send('text'), json: () => res.json({ json: true }) }), {
    ask: ['GET', '/', { headers: 'Accept: application/json\r\n' }],
  }),
  handled('res.append(), res.links(), res.vary()', (res) =>
    res
      .append('X-One', 'a')
      .append('X-One', 'b')
      .links({ next: '/2' })
      .vary('Accept')
      .vary('X-Own')
      .type('txt')
      .send('text'),
  ),
  handled('res.cookie()', (res) => res.cookie('a', '1').send('text'), unstored),
  handled('next(error)', (_res, next) => next(Object.assign(mine(), { status: 503 })), unstored),
  handled(
    'a handler that throws',
    () => {
      throw mine()
    },
    unstored,
  ),
  handled('next(error) after the first bytes', (res, next) => res.write('part', () => next(mine())), unstored),
  handled('no handler at all', (_res, next) => next(undefined), unstored),
  {
    name: 'express.static()',
    mount: (app, layers, watcher) => void app.use(...layers, watcher, express.static(folder, { maxAge: '1h' })),
    ask: ['GET', '/page.html'],
  },
  {
    name: 'express.static() that sends to the folder',
    mount: (app, layers, watcher) =>
      void app.use('/files', ...layers, watcher, express.static(folder, { maxAge: '1h' })),
    ask: ['GET', '/files'],
  },
  {
    name: 'compression above',
    mount(app, layers, watcher) {
      app.use(compression({ threshold: 0 }))
      app.get('/', ...layers, watcher, (_req, res) => void res.send('text '.repeat(99)))
    },
    ask: ['GET', '/', gzip],
  },
  {
    name: 'compression above, asked for plain bytes',
    mount(app, layers, watcher) {
      app.use(compression({ threshold: 0 }))
      app.get('/', ...layers, watcher, (_req, res) => void res.send('text '.repeat(99)))
    },
  },
  {
    name: 'compression above a stream',
    mount(app, layers, watcher) {
      app.use(compression({ threshold: 0 }))
      app.get(
        '/',
        ...layers,
        watcher,
        (_req, res) => void res.sendFile(join(folder, 'long.txt'), { cacheControl: false }),
      )
    },
    ask: ['GET', '/', gzip],
  },
  {
    name: 'compression below',
    mount: (app, layers, watcher) =>
      void app.get(
        '/',
        ...layers,
        watcher,
        compression({ threshold: 0 }),
        (_req, res) => void res.send('text '.repeat(99)),
      ),
    ask: ['GET', '/', gzip],
    isOtherForHead: true,
  },
]

/** A folder with `page.html` and `long.txt`. */
export const FILES = folder
