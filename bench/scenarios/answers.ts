import { against, type Contender, type Group, rateScenario } from './rates.ts'
import { PEERS, type Scenario } from './scenario.ts'

// Hits, misses and answers that pass, in requests per second

const KB = 1024
const POSITIONS = ['tagcache front', 'tagcache route', 'tagcache app.use']
const PROXIES = ['nginx', 'Varnish']

const express5 = POSITIONS.map((position) => `Express 5 ${position}`)
const express4 = POSITIONS.map((position) => `Express 4 ${position}`)

const hits: Group[] = [
  against('node bare', 'Express 5 tagcache front', 'node tagcache', 'node static', 'Express 5 static', ...PROXIES),
  against('Express 5 static', ...express5, ...PEERS),
  against('Express 4 static', ...express4),
  against('Koa 3 static', 'Koa 3 tagcache front', 'Koa 3 tagcache route', 'Koa 3 tagcache app.use', 'koa-cash'),
  against('apicache', ...express5),
]

const MANY = 10_000

function manyUrls(subject: string): Group {
  const over = (pick: 'uniform' | 'zipf', how: string): Contender => ({
    subject,
    load: { pick, count: MANY },
    label: `${subject}, ${how}`,
  })
  // Choosing among one URL costs the load what choosing among many does.
  const one: Contender = { subject, load: { pick: 'uniform', count: 1 } }
  return { baseline: one, contenders: [over('uniform', 'uniform'), over('zipf', 'Zipf')] }
}

const passing = [against('Express 5 no cache', ...express5, ...PEERS), against('node no cache', 'node tagcache')]

export const answerScenarios: readonly Scenario[] = [
  rateScenario({
    name: 'hit 1 KB',
    text: 'a stored answer of 1 KB of JSON',
    work: { size: KB },
    load: { pick: 'one' },
    groups: hits,
  }),
  rateScenario({
    name: 'hit 100 KB',
    text: 'a stored answer of 100 KB of JSON',
    work: { size: 100 * KB },
    load: { pick: 'one' },
    groups: [
      against('node bare', 'Express 5 tagcache front', 'node tagcache', ...PROXIES),
      against('Express 5 static', ...express5, ...PEERS),
    ],
  }),
  rateScenario({
    name: '10,000 URLs',
    text: 'stored answers of 1 KB under 10,000 URLs, against one of them',
    work: { size: KB },
    load: { pick: 'one' },
    groups: [...express5.slice(0, 2), 'node tagcache', 'node Map', 'apicache'].map(manyUrls),
  }),
  rateScenario({
    name: 'miss',
    text: 'a URL that nobody has asked for, against the same handler without a cache',
    work: { size: KB },
    load: { pick: 'new' },
    groups: passing,
  }),
  rateScenario({
    name: 'pass, no-store',
    text: 'an answer that says no-store, against the same handler without a cache',
    work: { size: KB, cacheControl: 'no-store' },
    load: { pick: 'one' },
    expectation: 'run',
    groups: passing,
  }),
  rateScenario({
    name: 'pass, POST',
    text: 'a POST, against the same handler without a cache',
    work: { size: KB },
    load: { pick: 'one', method: 'POST' },
    expectation: 'run',
    groups: [
      against('Express 5 no cache', 'Express 5 tagcache front', 'Express 5 tagcache app.use'),
      against('node no cache', 'node tagcache'),
    ],
  }),
  rateScenario({
    name: 'hit Redis',
    text: 'a stored answer of 1 KB in Redis, against GET and end on the same client',
    work: { size: KB },
    load: { pick: 'one' },
    needsRedis: true,
    groups: [against('Express 5 Redis by hand', 'Express 5 tagcache Redis')],
  }),
  rateScenario({
    name: 'hit near tier',
    text: 'a copy in memory of an answer of 1 KB in Redis, against a hit in memory alone',
    work: { size: KB },
    load: { pick: 'one' },
    needsRedis: true,
    groups: [against('Express 5 tagcache route', 'Express 5 tagcache near')],
  }),
  rateScenario({
    name: 'hit 100 KB compressed',
    text: 'a stored answer of 100 KB sent with gzip, against compression of the same answer each time',
    work: { size: 100 * KB },
    load: { pick: 'one', headers: { 'Accept-Encoding': 'gzip' } },
    groups: [
      against(
        'Express 5 compression',
        'Express 5 tagcache compress',
        'Express 5 tagcache, then compression',
        'Express 5 compression, then tagcache',
      ),
    ],
  }),
]
