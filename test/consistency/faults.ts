import { setTimeout as sleep } from 'node:timers/promises'
import { between, pick, type Random, shuffled } from './random.ts'
import type { Relay } from './relay.ts'
import { emptySpell, type Spell } from './result.ts'
import type { Stage } from './stage.ts'

/** What can be done to the servers and to Redis. */
export const FAULTS = [
  'cut',
  'freeze',
  'slow',
  'stop',
  'flush',
  'evict',
  'restart',
  'rollback',
  'failover',
  'crash',
  'script',
] as const
export type FaultName = (typeof FAULTS)[number]

/** What crashes, where something does. */
export interface Mortal {
  kill(): Promise<void>
  start(): Promise<void>
}

/** What a fault needs. */
export interface Scene {
  readonly stage: Stage
  readonly servers: readonly Mortal[]
  readonly random: Random
  /** Lets the time pass that the fault lasts. */
  last(): Promise<unknown>
}

/** Each ends with everything well again, and what was lost lost. */
const ACT: Record<FaultName, (scene: Scene) => Promise<unknown>> = {
  async cut({ stage, random, last }) {
    const relay = pick(random, stage.relays)
    await relay.cut()
    await last()
    await relay.heal()
  },
  async freeze({ stage, random, last }) {
    const direction = pick(random, ['both', 'both', 'toServer', 'toClient'] as const)
    await onSome(stage, random, last, (relay) => relay.freeze(direction))
  },
  async slow({ stage, random, last }) {
    const milliseconds = between(random, 2, 200)
    await onSome(stage, random, last, (relay) => relay.slow(milliseconds))
  },
  async stop({ stage, last }) {
    stage.redis.freeze()
    await last()
    stage.redis.thaw()
  },
  flush: ({ stage }) => stage.redis.command('FLUSHALL'),
  evict: (scene) => (scene.random() < 0.6 ? squeeze(scene) : pluck(scene)),
  restart: ({ stage, last }) => stage.restart('nothing', last),
  async rollback({ stage, random, last }) {
    await stage.redis.command('SAVE')
    await last()
    await stage.restart('saved', () => sleep(between(random, 5, 200)))
  },
  failover: ({ stage, last }) => stage.failOver(last),
  async crash({ servers, random, last }) {
    const server = pick(random, servers)
    await server.kill()
    await last()
    await server.start()
  },
  script: ({ stage }) => stage.redis.command('SCRIPT', 'FLUSH'),
}

// Many are short, and some longer than a copy is trusted without news.
function durationOf(random: Random): number {
  return random() < 0.7 ? between(random, 50, 1000) : between(random, 1000, 2000)
}

async function onSome({ relays }: Stage, random: Random, last: Scene['last'], harm: (relay: Relay) => void) {
  const harmed = random() < 0.3 ? relays : [pick(random, relays)]
  for (const relay of harmed) harm(relay)
  await last()
  for (const relay of harmed) await relay.heal()
}

// Redis has less memory than it needs for what it keeps.
async function squeeze({ stage: { redis }, random, last }: Scene): Promise<void> {
  const used = Number(/^used_memory:(\d+)/m.exec(String(await redis.command('INFO', 'memory')))?.[1])
  await redis.command('CONFIG', 'SET', 'maxmemory-policy', 'allkeys-lru')
  await redis.command('CONFIG', 'SET', 'maxmemory', String(Math.round(used - between(random, 1000, 200_000))))
  await last()
  await redis.command('CONFIG', 'SET', 'maxmemory', '0')
}

// Single keys are lost, the ledger as likely as all others together.
async function pluck({ stage: { redis }, random }: Scene): Promise<void> {
  const key = random() < 0.5 ? '{tagcache}:ledger' : String(await redis.command('RANDOMKEY'))
  await redis.command('DEL', key)
}

/** Faults one after the other, with healthy times between. */
export class Weather {
  readonly spells: readonly Spell[]
  readonly #calm = emptySpell('none', false)
  readonly #scene: Omit<Scene, 'last'>
  readonly #names: readonly FaultName[]
  readonly #over = new AbortController()
  #spell: Spell = this.#calm
  #spared: readonly Mortal[] = []
  #rounds = 0

  constructor(scene: Omit<Scene, 'last'>, names: readonly FaultName[]) {
    this.#scene = scene
    this.#names = names
    this.spells = [this.#calm, ...names.map((name) => emptySpell(name, true))]
    this.#calm.since = performance.now()
  }

  /** What is the matter at the moment. */
  get spell(): Spell {
    return this.#spell
  }

  /** Whether nothing is written to that server for the time being, though others may be. */
  isSpared(server: Mortal): boolean {
    return this.#spared.includes(server)
  }

  /** Whether each of the faults has happened. */
  get isComplete(): boolean {
    return this.#rounds > 0 || this.#names.length === 0
  }

  /** Goes on until it is ended, and what is under way is over. */
  async run(): Promise<void> {
    const { random } = this.#scene
    const { signal } = this.#over
    while (this.#names.length > 0) {
      for (const name of shuffled(random, this.#names)) {
        await sleep(between(random, 300, 3000), undefined, { signal }).catch(() => {})
        if (signal.aborted) return
        await this.#suffer(name)
      }
      this.#rounds += 1
    }
  }

  end(): void {
    this.#over.abort()
    this.#turn(this.#spell)
  }

  async #suffer(name: FaultName): Promise<void> {
    const { random, servers } = this.#scene
    const milliseconds = durationOf(random)
    const [, ...others] = shuffled(random, servers)
    this.#spared = others.filter(() => random() < 0.6)
    this.#turn(this.spells.find((spell) => spell.name === name)!)
    this.#spell.times += 1
    await ACT[name]({ ...this.#scene, last: () => sleep(milliseconds) })
    this.#turn(this.#calm)
  }

  #turn(next: Spell): void {
    const now = performance.now()
    this.#spell.milliseconds += now - this.#spell.since
    next.since = now
    this.#spell = next
  }
}
