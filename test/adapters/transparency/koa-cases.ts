import { Readable } from 'node:stream'
import type { Context, Middleware, Next } from 'koa'
import compress from 'koa-compress'
import type { requestText } from '../../support/wire.ts'

/** What a Koa handler does. */
export interface KoaCase {
  readonly name: string
  readonly run: (ctx: Context, next: Next) => unknown
  readonly isStored?: false
  /** Where the handler answers HEAD with other fields than GET. */
  readonly isOtherForHead?: true
  readonly ask?: Parameters<typeof requestText>
  readonly above?: readonly Middleware[]
  readonly below?: readonly Middleware[]
}

const bytes = Buffer.from([0, 255, 13, 10, 13, 10])
const gzip = { headers: 'Accept-Encoding: gzip\r\n' }
const unstored = { isStored: false } as const
const long = 'text '.repeat(999)

function setting(name: string, body: () => unknown, more: Partial<KoaCase> = {}): KoaCase {
  const run = (ctx: Context) => {
    ctx.body = body()
  }
  return { name, run, ...more }
}

/** What handlers do with every version of Koa. */
export const KOA_CASES: readonly KoaCase[] = [
  setting('text', () => 'tëxt'),
  setting('text that looks like HTML', () => '<p>text</p>'),
  setting('no text', () => ''),
  setting('a Buffer', () => bytes),
  setting('a stream', () => Readable.from([bytes, bytes])),
  setting('a stream of nothing', () => Readable.from([])),
  setting('an object', () => ({ a: [1, null, 'ë'] })),
  setting('a list', () => [1, 2]),
  setting('a number', () => 7),
  setting('false', () => false),
  setting('null', () => null),
  setting('undefined', () => undefined, unstored),
  { name: 'nothing', run: () => undefined, ...unstored },
  { name: 'a status alone', run: (ctx) => (ctx.status = 200), ...unstored },
  { name: 'the status 204', run: (ctx) => (ctx.status = 204), ...unstored },
  { name: 'null with a status', run: (ctx) => [(ctx.body = null), (ctx.status = 203)] },
  { name: 'a message of its own', run: (ctx) => [(ctx.status = 200), (ctx.message = 'My Own'), (ctx.body = 'text')] },
  {
    name: 'fields in all forms',
    run: (ctx) => [
      ctx.set({ 'X-One': '1', 'x-two': ['a', 'b'] } as never),
      ctx.append('x-two', 'c'),
      (ctx.body = 'text'),
    ],
  },
  {
    name: 'type and length',
    run: (ctx) => [(ctx.type = 'html'), (ctx.body = Readable.from(['text'])), (ctx.length = 4)],
  },
  { name: 'a wrong length', run: (ctx) => [(ctx.body = Readable.from(['text'])), (ctx.length = 3)], ...unstored },
  { name: 'ctx.redirect()', run: (ctx) => ctx.redirect('/there'), ...unstored },
  { name: 'ctx.redirect() for good', run: (ctx) => [(ctx.status = 301), ctx.redirect('/there')] },
  { name: 'ctx.attachment()', run: (ctx) => [ctx.attachment('page.pdf'), (ctx.body = bytes)] },
  { name: 'ctx.vary()', run: (ctx) => [ctx.vary('Accept'), ctx.vary('X-Own'), (ctx.body = 'text')] },
  { name: 'ctx.cookies.set()', run: (ctx) => [ctx.cookies.set('a', '1'), (ctx.body = 'text')], ...unstored },
  { name: 'ctx.throw(404)', run: (ctx) => ctx.throw(404, 'none'), ...unstored },
  { name: 'ctx.throw(500)', run: (ctx) => ctx.throw(500), ...unstored },
  { name: 'an error that is thrown', run: () => Promise.reject(new Error('mine')), ...unstored },
  { name: 'an error with fields', run: (ctx) => ctx.throw(429, { headers: { 'Retry-After': '9' } }), ...unstored },
  {
    name: 'a stream that fails before it begins',
    run: (ctx) =>
      (ctx.body = new Readable({
        read() {
          this.destroy(new Error('mine'))
        },
      })),
    ...unstored,
  },
  {
    name: 'ctx.respond = false',
    run(ctx) {
      ctx.respond = false
      ctx.res.writeHead(200, { 'X-One': '1' })
      setImmediate(() => ctx.res.end('text'))
    },
  },
  {
    name: 'ctx.res written at once',
    run(ctx) {
      ctx.res.statusCode = 200
      ctx.res.write('one')
      ctx.res.end('two')
    },
  },
  {
    name: 'ctx.flushHeaders(), then a stream',
    run(ctx) {
      ctx.type = 'text'
      ctx.status = 200
      ctx.flushHeaders()
      ctx.body = Readable.from(['text'])
    },
  },
  { name: 'a body that is set twice', run: (ctx) => [(ctx.body = Readable.from(['gone'])), (ctx.body = { a: 1 })] },
  setting('koa-compress above text', () => long, { above: [compress({ threshold: 0 })], ask: ['GET', '/', gzip] }),
  setting('koa-compress above a stream', () => Readable.from([long]), {
    above: [compress({ threshold: 0 })],
    ask: ['GET', '/', gzip],
  }),
  setting('koa-compress above, asked for plain bytes', () => long, { above: [compress({ threshold: 0 })] }),
  setting('koa-compress above an object', () => ({ long }), {
    above: [compress({ threshold: 0 })],
    ask: ['GET', '/', gzip],
  }),
  setting('koa-compress below', () => long, {
    below: [compress({ threshold: 0 })],
    ask: ['GET', '/', gzip],
    isOtherForHead: true,
  }),
  setting('a Blob', () => new Blob(['blob'], { type: 'text/x-own' }), unstored),
  setting('a web ReadableStream', () => new Blob(['stream']).stream(), unstored),
  setting('a web Response', () => new Response('response', { status: 203, headers: { 'X-One': '1' } }), unstored),
  setting('a web Response without a body', () => new Response(null, { headers: { 'X-One': '1' } }), unstored),
]
