import { describe, expect, it } from 'vitest'
import { counting, STACKS, type Stack, site } from '../support/stacks.ts'
import { ManualTime } from '../support/time.ts'

/** A site below a layer that sets `Vary`, and whose handler greets in the language that is asked for. */
function greeting(stack: Stack, vary: string) {
  return site(stack, { time: new ManualTime() }, (app, { cached }) => {
    app.use(stack.before(({ res }) => res.setHeader('Vary', vary)))
    app.on('GET', '/', cached(), ({ req }) => (req.headers['accept-language'] === 'fr' ? 'Bonjour' : 'Hello'))
  })
}

describe.each(STACKS)('Vary from a layer above, under $name', (stack) => {
  it('counts for what the layers below have made', async () => {
    const { get } = await greeting(stack, 'Accept-Language')
    const seen = []
    for (const language of ['fr', 'en', 'fr', 'en']) {
      const { text, headers, cacheStatus } = await get('/', { 'accept-language': language })
      seen.push([text, headers.vary, cacheStatus])
    }
    expect(seen).toEqual([
      ['Bonjour', 'Accept-Language', 'tagcache; fwd=uri-miss; stored'],
      ['Hello', 'Accept-Language', 'tagcache; fwd=vary-miss; stored'],
      ['Bonjour', 'Accept-Language', 'tagcache; hit; ttl=60'],
      ['Hello', 'Accept-Language', 'tagcache; hit; ttl=60'],
    ])
  })

  it('that is a star keeps the response from being stored', async () => {
    const { get } = await greeting(stack, '*')
    for (const _ of [1, 2]) expect((await get('/')).cacheStatus).toBe('tagcache; fwd=uri-miss; detail=vary')
  })

  it('does not split the cache by origin', async () => {
    const { get } = await greeting(stack, 'Origin')
    await get('/', { origin: 'http://a.example' })
    const { headers, cacheStatus } = await get('/', { origin: 'http://b.example' })
    expect([headers.vary, cacheStatus]).toEqual(['Origin', 'tagcache; hit; ttl=60'])
  })
})

describe.each(STACKS)('request fields that a layer below has changed, under $name', (stack) => {
  it('do not decide for whom the response is', async () => {
    const { get } = await site(stack, { time: new ManualTime() }, (app, { cached }) => {
      const guess = stack.before(({ req }) => {
        if (req.headers['x-geo'] === 'fr') req.headers['accept-language'] = 'fr'
      })
      app.on('GET', '/', cached(), guess, ({ req }) => ({
        headers: { Vary: 'Accept-Language' },
        body: `in ${req.headers['accept-language']}`,
      }))
    })
    expect((await get('/', { 'x-geo': 'fr', 'accept-language': 'de' })).text).toBe('in fr')
    expect((await get('/', { 'accept-language': 'fr', 'x-geo': 'us' })).cacheStatus).toContain('vary-miss')
    expect((await get('/', { 'accept-language': 'de' })).cacheStatus).toContain('hit')
  })

  it('do not keep the next one from a hit', async () => {
    const handler = counting((body, { req }) => {
      delete req.headers['accept-encoding']
      return { headers: { Vary: 'Accept-Encoding' }, body }
    })
    const { get } = await site(stack, { time: new ManualTime() }, (app, { cached }) => {
      app.on('GET', '/', cached(), handler)
    })
    const seen = []
    for (const encoding of ['gzip', 'gzip', 'br', 'br']) {
      seen.push((await get('/', { 'accept-encoding': encoding })).text)
    }
    expect(seen).toEqual(['run 1', 'run 1', 'run 2', 'run 2'])
  })
})
