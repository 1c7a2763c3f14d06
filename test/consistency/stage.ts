import { rm } from 'node:fs/promises'
import { join } from 'node:path'
import { promote, type RedisServer, startRedis, startReplica, until } from '../support/redis.ts'
import { startRelay as startLink } from '../support/relay.ts'
import { type Relay, startRelay } from './relay.ts'

/** Redis, which may be another one after a failover, and a relay to it for each server. */
export class Stage {
  #redis: RedisServer
  readonly relays: readonly Relay[]

  constructor(redis: RedisServer, relays: readonly Relay[]) {
    this.#redis = redis
    this.relays = relays
  }

  get redis(): RedisServer {
    return this.#redis
  }

  /** Ends the server as a crash does, and starts it with what was saved, or with nothing. */
  async restart(data: 'saved' | 'nothing', whileDown: () => Promise<unknown>): Promise<void> {
    await this.#redis.kill()
    if (data === 'nothing') await rm(join(this.#redis.dir, 'dump.rdb'), { force: true })
    await whileDown()
    await this.#redis.start()
  }

  /** Has a replica lag for a while, and then take the place of its master, which ends. */
  async failOver(whileLagging: () => Promise<unknown>): Promise<void> {
    const master = this.#redis
    const link = await startLink(master.ownPort)
    const replica = await startReplica(link)
    link.freeze()
    await whileLagging()
    await master.stop()
    await promote(replica)
    // What it is now it is to be after a restart too.
    await replica.rewriteConf()
    this.#redis = replica
    for (const relay of this.relays) relay.redirect(replica.ownPort)
    await link.stop()
  }

  async stop(): Promise<void> {
    await Promise.all([this.#redis.stop(), ...this.relays.map((relay) => relay.stop())])
  }
}

/** Starts Redis, and so many relays to it. */
export async function startStage(servers: number): Promise<Stage> {
  const redis = await startRedis()
  const relays = await Promise.all(Array.from({ length: servers }, () => startRelay(redis.ownPort)))
  await until('Redis is empty', async () => Number(await redis.command('DBSIZE')) === 0)
  return new Stage(redis, relays)
}
