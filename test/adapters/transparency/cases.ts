import type { IncomingMessage, ServerResponse } from 'node:http'
import { pipeline, Readable } from 'node:stream'

/** What happens while a handler answers, in order. */
export type Log = (...what: unknown[]) => void

/** A handler that writes with node:http, and how it is asked. */
export interface Case {
  readonly name: string
  readonly run: (res: ServerResponse, log: Log, req: IncomingMessage) => unknown
  /** Whether the response is stored. Default: yes. */
  readonly stored?: false
  /** Where Node takes it only because no field was set before: what Express sets makes it an error. */
  readonly isRefusedByExpress?: true
  readonly version?: '1.0'
  /** Where Node refuses to answer so what has no chunks: HEAD, HTTP/1.0. */
  readonly needsChunks?: true
}

const bytes = Buffer.from([0, 1, 127, 128, 254, 255, 13, 10, 13, 10, 48])
const parts = () => Readable.from([Buffer.from('one '), Buffer.from('two '), Buffer.from('three')])

/** Does something that may throw, as a handler with an error handler around it. */
function attempt(res: ServerResponse, log: Log, act: () => unknown): void {
  try {
    act()
  } catch (error) {
    log('thrown', (error as NodeJS.ErrnoException).code)
    if (res.headersSent) return void res.end()
    for (const name of res.getHeaderNames()) res.removeHeader(name)
    res.statusCode = 500
    res.statusMessage = ''
    res.end('the error handler')
  }
}

const bodies: Case[] = [
  { name: 'end()', run: (res, log) => log(res.end() === res) },
  { name: 'end(text)', run: (res) => res.end('tëxt') },
  { name: 'end(text, encoding)', run: (res) => res.end('tëxt', 'latin1') },
  { name: 'end(base64)', run: (res) => res.end(bytes.toString('base64'), 'base64') },
  { name: 'end(Buffer)', run: (res) => res.end(bytes) },
  { name: 'end(Uint8Array)', run: (res) => res.end(new Uint8Array(bytes)) },
  { name: 'end(callback)', run: (res, log) => res.end((...args: unknown[]) => log('ended', args)) },
  { name: 'end(text, callback)', run: (res, log) => res.end('text', (...args: unknown[]) => log('ended', args)) },
  {
    name: 'end(text, encoding, callback)',
    run: (res, log) => res.end('ff00', 'hex', (...args: unknown[]) => log('ended', args)),
  },
  { name: 'end(null)', run: (res) => res.end(null) },
  { name: "end('')", run: (res) => res.end('') },
  {
    name: 'write(text), end()',
    run(res, log) {
      log(res.write('one'))
      res.end()
    },
  },
  {
    name: 'write in all forms, end(chunk)',
    run(res, log) {
      log(res.write('tëxt'))
      log(res.write('tëxt', 'latin1'))
      log(res.write('00ff', 'hex', (...args) => log('hex written', args)))
      log(res.write(bytes))
      log(res.write(bytes, (...args) => log('bytes written', args)))
      log(res.write(new Uint8Array(bytes)))
      log(res.write('', 'utf8', (...args) => log('nothing written', args)))
      res.end('last')
    },
  },
  {
    name: 'write(), cork(), uncork()',
    run(res) {
      res.cork()
      res.write('one')
      res.write('two')
      res.uncork()
      process.nextTick(() => res.end('three'))
    },
  },
  {
    name: 'writes in later turns',
    run(res) {
      res.write('one')
      setImmediate(() => {
        res.write('two')
        setImmediate(() => res.end('three'))
      })
    },
  },
  {
    name: 'a buffer that is used again',
    run(res) {
      const buffer = Buffer.from('first ')
      res.write(buffer, () => {
        buffer.write('second')
        res.write(buffer, () => res.end(buffer, () => buffer.fill('!')))
      })
    },
  },
  {
    name: 'more than the high-water mark, and drain',
    run(res, log) {
      log(res.write(Buffer.alloc(400_000, 'x')))
      log(res.writableNeedDrain)
      if (res.writableNeedDrain) res.once('drain', () => res.end('end'))
      else res.end('end')
    },
  },
  { name: 'pipe()', run: (res) => parts().pipe(res) },
  { name: 'pipeline()', run: (res, log) => pipeline(parts(), res, (error) => log('pipeline', error?.message)) },
  { name: 'a full length', run: (res) => [res.setHeader('Content-Length', 6), res.write('one'), res.end('two')] },
  { name: 'chunked by its own word', run: (res) => res.setHeader('Transfer-Encoding', 'chunked').end('text') },
  { name: 'an encoded body', run: (res) => res.setHeader('Content-Encoding', 'br').end(bytes) },
]

const heads: Case[] = [
  { name: 'writeHead(status)', run: (res, log) => log(res.writeHead(203) === res, res.end('text') === res) },
  { name: 'writeHead(status, reason)', run: (res) => res.writeHead(200, 'Very Well').end('text') },
  {
    name: 'writeHead(status, fields)',
    run: (res) => res.writeHead(200, { 'X-One': '1', 'x-TWO': ['a', 'b'] }).end('text'),
  },
  { name: 'writeHead(status, reason, fields)', run: (res) => res.writeHead(203, 'So', { 'X-One': 1 }).end('text') },
  {
    name: 'writeHead(status, flat list)',
    run: (res) => res.writeHead(200, ['X-One', '1', 'X-One', '2', 'X-Two', 'a', 'X-One', '3']).end('text'),
  },
  {
    name: 'writeHead(status, list of pairs)',
    run: (res, log) =>
      attempt(res, log, () =>
        res
          .writeHead(200, [
            ['X-One', '1'],
            ['X-One', '2'],
          ] as never)
          .end('text'),
      ),
    isRefusedByExpress: true,
  },
  {
    name: 'writeHead(status, odd list)',
    run: (res, log) => attempt(res, log, () => res.writeHead(200, ['X-One']).end('text')),
    stored: false,
  },
  {
    name: 'writeHead(fields) after setHeader()',
    run(res) {
      res.setHeader('X-One', 'set')
      res.setHeader('X-Two', ['set', 'twice'])
      res.writeHead(200, { 'x-one': 'written', 'X-Three': 'written' }).end('text')
    },
  },
  {
    name: 'writeHead(flat list) after setHeader()',
    run(res) {
      res.setHeader('X-One', 'set')
      res.writeHead(200, ['X-Two', '1', 'X-Two', '2', 'x-one', 'written']).end('text')
    },
  },
  { name: 'writeHead() with a length', run: (res) => res.writeHead(200, { 'Content-Length': 4 }).end('text') },
  {
    name: 'writeHead(), then write()',
    run: (res) => [res.writeHead(200, { 'X-One': '1' }), res.write('one'), res.end()],
  },
  {
    name: 'setHeaders(Map)',
    run: (res) =>
      res
        .setHeaders(
          new Map([
            ['X-One', '1'],
            ['X-Two', '2'],
          ]),
        )
        .end('text'),
  },
  {
    name: 'setHeaders(Headers)',
    run: (res) => res.setHeaders(new Headers({ 'X-One': '1', 'X-Two': '2' })).end('text'),
  },
  {
    name: 'appendHeader()',
    run: (res) =>
      res.appendHeader('X-One', '1').appendHeader('x-one', ['2', '3']).appendHeader('Link', '</a>').end('text'),
  },
  {
    name: 'setHeader() in all forms',
    run(res) {
      res.setHeader('X-Number', 7)
      res.setHeader('X-Empty', '')
      res.setHeader('X-List', ['a', 'b, c', 'd'])
      res.setHeader('x-lower', 'lower')
      res.setHeader('X-Gone', 'gone')
      res.removeHeader('x-gone')
      res.end('text')
    },
  },
  {
    name: 'a file name beyond ASCII',
    run: (res) => [
      res.setHeader('Content-Disposition', 'attachment; filename="naïve.pdf"'),
      res.write(bytes),
      res.end(),
    ],
  },
  { name: 'a field beyond ASCII', run: (res) => res.setHeader('X-Name', 'é').end(bytes) },
  { name: 'statusMessage', run: (res) => Object.assign(res, { statusMessage: 'My Own' }).end('text') },
  { name: 'no Date', run: (res) => Object.assign(res, { sendDate: false }).end('text') },
  {
    name: 'flushHeaders(), then the body',
    run: (res, log) => [res.flushHeaders(), log(res.headersSent), res.write('one'), res.end('two')],
  },
  {
    name: 'flushHeaders(), and the body later',
    run: (res) => [res.flushHeaders(), setImmediate(() => res.end('text'))],
  },
  {
    name: 'early hints',
    run: (res) =>
      res.writeEarlyHints({ link: '</style.css>; rel=preload' }, () => res.setHeader('X-One', '1').end('text')),
  },
  { name: 'processing', run: (res) => [res.writeProcessing(), res.end('text')] },
  {
    name: 'trailers',
    needsChunks: true,
    run(res) {
      res.writeHead(200, { Trailer: 'X-Sum, X-Two' })
      res.write('text')
      res.addTrailers({ 'X-Sum': '42', 'x-two': '2' })
      res.end()
    },
  },
  {
    name: 'trailers as pairs',
    needsChunks: true,
    run(res) {
      res.setHeader('Trailer', 'X-Sum')
      res.write('text')
      res.addTrailers([['X-Sum', '42']])
      res.end('more')
    },
  },
  { name: 'Connection: close', run: (res) => res.setHeader('Connection', 'close').end('text') },
  { name: '204', run: (res) => res.writeHead(204).end() },
  { name: '204 with a body', run: (res) => res.writeHead(204).end('text') },
  { name: '205', run: (res) => res.writeHead(205).end(), stored: false },
  { name: '304', run: (res) => res.writeHead(304, { ETag: '"v1"' }).end(), stored: false },
  { name: '301', run: (res) => res.writeHead(301, { Location: '/there' }).end() },
  { name: '404', run: (res) => res.writeHead(404).end('none'), stored: false },
  { name: '500', run: (res) => res.writeHead(500).end('broken'), stored: false },
  { name: '299', run: (res) => res.writeHead(299, { 'Cache-Control': 'max-age=9' }).end('odd') },
  { name: 'Set-Cookie lines', run: (res) => res.setHeader('Set-Cookie', ['a=1', 'b=2']).end('text'), stored: false },
]

const old: Case[] = [
  { name: 'end(text) to HTTP/1.0', run: (res) => res.end('text'), version: '1.0' },
  { name: 'write() to HTTP/1.0', run: (res) => [res.write('one'), res.end('two')], version: '1.0' },
  {
    name: 'trailers to HTTP/1.0',
    run: (res) => [res.write('one'), res.addTrailers({ 'X-Sum': '1' }), res.end()],
    version: '1.0',
  },
]

const faults: Case[] = [
  { name: 'destroy() before the head', run: (res) => res.destroy(), stored: false },
  { name: 'destroy(error) before the head', run: (res) => res.destroy(new Error('mine')), stored: false },
  { name: 'destroy() in the body', run: (res) => res.write('part', () => res.destroy()), stored: false },
  {
    name: 'destroy(error) in a body with a length',
    run: (res) => res.setHeader('Content-Length', 99).write('part', () => res.destroy(new Error('mine'))),
    stored: false,
  },
  {
    name: 'a pipeline that fails in the body',
    run(res, log) {
      const failing = Readable.from(
        (async function* () {
          yield 'part'
          await new Promise((resolve) => setImmediate(resolve))
          throw new Error('mine')
        })(),
      )
      pipeline(failing, res, (error) => log('pipeline', error?.message))
    },
    stored: false,
  },
  { name: 'fewer bytes than the length', run: (res) => res.setHeader('Content-Length', 9).end('text'), stored: false },
  { name: 'more bytes than the length', run: (res) => res.setHeader('Content-Length', 2).end('text'), stored: false },
  {
    name: 'more bytes than a strict length',
    run(res, log) {
      res.strictContentLength = true
      res.setHeader('Content-Length', 2)
      try {
        res.end('text')
      } catch (error) {
        log('thrown', (error as NodeJS.ErrnoException).code)
        res.destroy()
      }
    },
    stored: false,
  },
  {
    name: 'write() after end()',
    run(res, log) {
      res.end('text')
      log(res.write('late', (error) => log('late', (error as NodeJS.ErrnoException).code)))
    },
  },
  {
    name: 'end() after end()',
    run(res, log) {
      res.end('text')
      res.end((error?: NodeJS.ErrnoException) => log('second', error?.code))
      res.end('late', (error?: NodeJS.ErrnoException) => log('third', error?.code))
    },
  },
  { name: 'write(null)', run: (res, log) => attempt(res, log, () => res.write(null)), stored: false },
  { name: 'write(number)', run: (res, log) => attempt(res, log, () => res.write(42)), stored: false },
  { name: 'end(number)', run: (res, log) => attempt(res, log, () => res.end(42)), stored: false },
  {
    name: 'an invalid value for setHeader()',
    run: (res, log) => attempt(res, log, () => res.setHeader('X-One', 'a\nb')),
    stored: false,
  },
  {
    name: 'an invalid value for writeHead()',
    run: (res, log) => attempt(res, log, () => res.writeHead(200, { 'X-Good': '1', 'X-Bad': 'a\nb' }).end('text')),
    stored: false,
  },
  {
    name: 'an invalid name for writeHead()',
    run: (res, log) => attempt(res, log, () => res.writeHead(200, { 'X Bad': '1' }).end('text')),
    stored: false,
  },
  {
    name: 'an invalid status for writeHead()',
    run: (res, log) => attempt(res, log, () => res.writeHead(99).end('text')),
    stored: false,
  },
  {
    name: 'an invalid statusCode',
    run: (res, log) => attempt(res, log, () => Object.assign(res, { statusCode: 1000 }).end('text')),
    stored: false,
  },
  {
    name: 'an invalid reason',
    run: (res, log) => attempt(res, log, () => res.writeHead(200, 'a\nb').end('text')),
    stored: false,
  },
  {
    name: 'an invalid value, and then a good answer',
    run(res, log) {
      try {
        res.writeHead(200, { 'X-Bad': 'a\nb' })
      } catch (error) {
        log('thrown', (error as NodeJS.ErrnoException).code)
      }
      res.writeHead(200, { 'X-Good': '1' }).end('text')
    },
  },
  {
    name: 'writeHead() twice',
    run: (res, log) => [res.writeHead(200, { 'X-One': '1' }), attempt(res, log, () => res.writeHead(201))],
  },
  {
    name: 'setHeader() after the head',
    run: (res, log) => [res.write('text'), attempt(res, log, () => res.setHeader('X-Late', '1'))],
  },
]

/** What handlers do with a response of node:http. */
export const CASES: readonly Case[] = [...bodies, ...heads, ...old, ...faults]
