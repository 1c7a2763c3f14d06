import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { ask, listen, type TestServer } from '../support/http.ts'
import { STACKS, type Stack } from '../support/stacks.ts'
import { ManualTime } from '../support/time.ts'

type Step =
  | { readonly kind: 'ask'; readonly method: string; readonly path: string; readonly headers: Record<string, string> }
  | { readonly kind: 'write'; readonly id: string }
  | { readonly kind: 'wait'; readonly seconds: number }

const oneOf = <T>(...values: T[]) => fc.constantFrom(...values)
const maybe = (name: string, ...values: string[]) =>
  fc
    .option(oneOf(...values), { nil: undefined, freq: 2 })
    .map((value) => (value === undefined ? {} : { [name]: value }))

const anyHeaders = fc
  .tuple(
    oneOf({ Host: 'one' }, { Host: 'one' }, { Host: 'two' }, { Host: 'ONE' }),
    maybe('Accept-Language', 'de', 'fr', 'de, fr;q=0.5'),
    maybe('Accept-Encoding', 'gzip', 'gzip, br', 'identity'),
    fc.option(
      oneOf<Record<string, string>>(
        { Cookie: 'a=b' },
        { Authorization: 'Bearer x' },
        { 'X-Forwarded-Host': 'two' },
        { 'X-Forwarded-Proto': 'https' },
        { 'X-Original-URL': '/item/2' },
        { 'X-HTTP-Method-Override': 'PUT' },
        { 'If-None-Match': 'W/"none"' },
        { 'If-None-Match': '*' },
        { Range: 'bytes=0-2' },
        { Range: 'other=0-2' },
        { 'If-Match': '*' },
        { 'Cache-Control': 'no-cache' },
        { 'X-User': 'bob' },
      ),
      { nil: {}, freq: 2 },
    ),
  )
  .map((parts): Record<string, string> => Object.assign({}, ...parts))

const headers = fc.oneof(
  { weight: 3, arbitrary: fc.constant<Record<string, string>>({ Host: 'one' }) },
  { weight: 2, arbitrary: anyHeaders },
)

const paths = oneOf(
  '/item/1',
  '/item/1',
  '/open/1',
  '/item/1',
  '/item/2',
  '/item/1?a=1',
  '/item/1?a=1&b=2',
  '/item/1?b=2&a=1',
  '/open/1',
  '/closed/1',
  '/none',
)
const step: fc.Arbitrary<Step> = fc.oneof(
  {
    weight: 20,
    arbitrary: fc.record({
      kind: fc.constant('ask' as const),
      method: oneOf('GET', 'GET', 'GET', 'HEAD'),
      path: paths,
      headers,
    }),
  },
  { weight: 2, arbitrary: fc.record({ kind: fc.constant('write' as const), id: oneOf('1', '2') }) },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant('wait' as const), seconds: oneOf(1, 5, 10) }) },
)

/** A site whose answers say which write they have seen, and what of the request they depend on. */
async function aSite(
  stack: Stack,
  isFronted: boolean,
): Promise<{ server: TestServer; time: ManualTime; inside(): number }> {
  const time = new ManualTime()
  const { cached, invalidates, front } = stack.tools({ time, ttl: 10 })
  const app = stack.app()
  let inside = 0
  app.use(
    stack.before(() => {
      inside += 1
    }),
  )
  const writes = new Map<string, number>()
  const idOf = (url: string | undefined) => /\/(\d)/.exec(url ?? '')?.[1] ?? ''
  const body = (req: { url?: string | undefined; headers: Record<string, unknown> }, shown: readonly string[]) =>
    [req.url, writes.get(idOf(req.url)), ...shown.map((name) => req.headers[name])].join(' ')
  const tags = ({ req }: { req: { url?: string | undefined } }) => `item:${idOf(req.url)}`
  app.on('GET', '/item/:id', cached({ front: true, tags }), ({ req }) => ({
    headers: { Vary: 'Accept-Language' },
    body: body(req, ['host', 'accept-language']),
  }))
  app.on('GET', '/open/:id', cached({ front: true, tags, scope: 'public' }), ({ req }) => body(req, ['host']))
  app.on('GET', '/closed/:id', cached({ tags, scope: ({ req }) => req.headers['x-user'] as string }), ({ req }) =>
    body(req, ['host', 'x-user']),
  )
  app.on('PUT', '/item/:id', invalidates(tags), ({ req }) => {
    writes.set(idOf(req.url), (writes.get(idOf(req.url)) ?? 0) + 1)
    return 'written'
  })
  const server = await listen(isFronted ? front(app.listener()) : app.listener())
  return { server, time, inside: () => inside }
}

const OWN = ['connection', 'date', 'keep-alive', 'x-powered-by']

async function perform({ server, time }: Awaited<ReturnType<typeof aSite>>, step: Step): Promise<unknown> {
  if (step.kind === 'wait') return time.move(step.seconds * 1000)
  if (step.kind === 'write') return (await ask(`${server.url}/item/${step.id}`, { method: 'PUT' })).text
  const { status, text, headers } = await ask(server.url + step.path, step)
  return { status, text, headers: Object.fromEntries(Object.entries(headers).filter(([name]) => !OWN.includes(name))) }
}

describe.each(STACKS)('$name', (stack) => {
  it('gives the same answers, told the same way, whether the cache stands in front or not', async () => {
    let answeredInFront = 0
    await fc.assert(
      fc.asyncProperty(fc.array(step, { minLength: 10, maxLength: 40 }), async (steps) => {
        const [without, within] = [await aSite(stack, false), await aSite(stack, true)]
        try {
          for (const each of steps) expect(await perform(within, each)).toEqual(await perform(without, each))
          answeredInFront += without.inside() - within.inside()
        } finally {
          await Promise.all([without, within].map(({ server }) => server.close()))
        }
      }),
      { numRuns: 40 },
    )
    expect(answeredInFront).toBeGreaterThan(40)
  }, 60_000)
})
