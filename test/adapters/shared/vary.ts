import { expect, it } from 'vitest'
import { gate } from '../../support/http.ts'
import { type Call, counting, oneRoute, type Stack, until } from '../../support/stacks.ts'
import { ManualTime } from '../../support/time.ts'

export function vary(stack: Stack): void {
  const language = (text: string, { req }: Call) => ({
    headers: { Vary: 'Accept-Language' },
    body: `${text} for ${req.headers['accept-language']}`,
  })

  it('keeps variants side by side', async () => {
    const { get, cache } = await oneRoute(stack, counting(language))
    const ask = async (value: string) => (await get('/', { 'accept-language': value })).text
    expect([await ask('en'), await ask('de'), await ask('en'), await ask('de')]).toEqual([
      'run 1 for en',
      'run 2 for de',
      'run 1 for en',
      'run 2 for de',
    ])
    expect(cache.stats().entries).toBe(2)
  })

  it('tells an absent field from an empty one', async () => {
    const { get } = await oneRoute(stack, counting(language))
    expect((await get('/')).text).toBe('run 1 for undefined')
    expect((await get('/', { 'accept-language': '' })).text).toBe('run 2 for ')
    expect((await get('/')).text).toBe('run 1 for undefined')
    expect((await get('/', { 'accept-language': '' })).text).toBe('run 2 for ')
  })

  it("does not give waiters somebody else's variant", async () => {
    const time = new ManualTime()
    const held = gate()
    const handler = counting(async (text, call) => {
      await held.opened
      return language(text, call)
    })
    const { get } = await oneRoute(stack, handler, {}, { time })
    const english = get('/', { 'accept-language': 'en' })
    await until(() => handler.runs() === 1)
    const others = [get('/', { 'accept-language': 'de' }), get('/', { 'accept-language': 'en' })]
    await until(() => time.pending === 2)
    held.open()
    expect((await english).text).toBe('run 1 for en')
    const [german, alsoEnglish] = await Promise.all(others)
    expect(german!.text).toBe('run 2 for de')
    expect([alsoEnglish!.text, alsoEnglish!.cacheStatus]).toEqual(['run 1 for en', 'tagcache; fwd=uri-miss; collapsed'])
  })

  it('has declared fields in the key from the start', async () => {
    const handler = counting((text, { req }) => `${text} for ${req.headers['x-own']}`)
    const { get } = await oneRoute(stack, handler, { vary: 'X-Own' })
    expect((await get('/', { 'x-own': 'a' })).text).toBe('run 1 for a')
    const other = await get('/', { 'x-own': 'b' })
    expect([other.text, other.cacheStatus]).toEqual(['run 2 for b', 'tagcache; fwd=uri-miss; stored'])
    expect((await get('/', { 'x-own': 'a' })).text).toBe('run 1 for a')
  })

  it('purges all variants', async () => {
    const { get, cache } = await oneRoute(stack, counting(language), { tags: 'page' })
    await get('/', { 'accept-language': 'en' })
    await get('/', { 'accept-language': 'de' })
    cache.invalidateTags('page')
    expect((await get('/', { 'accept-language': 'en' })).text).toBe('run 3 for en')
    expect((await get('/', { 'accept-language': 'de' })).text).toBe('run 4 for de')
  })

  it('keeps apart what forwarding fields could change', async () => {
    const { get } = await oneRoute(
      stack,
      counting((text, { req }) => `${text} at ${req.headers['x-forwarded-host']}`),
    )
    expect((await get('/', { 'x-forwarded-host': 'evil.example' })).text).toBe('run 1 at evil.example')
    expect((await get('/')).text).toBe('run 2 at undefined')
  })
}
