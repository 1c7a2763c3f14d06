import { Session } from 'node:inspector/promises'
import type { Place, Profile, Profiled } from './protocol.ts'

// Every so many microseconds, and every so many bytes
const TIME = 200
const MEMORY = 16_384

interface HeapNode {
  readonly callFrame: { readonly functionName: string; readonly url: string }
  readonly selfSize: number
  readonly children: readonly HeapNode[]
}

/** Says where time and memory go in this process. */
export class Profiler {
  readonly #session = new Session()
  #profiled: Profiled | undefined

  /** What there is to say since the last question for the same; nothing the first time. */
  async profile(profiled: Profiled): Promise<Profile> {
    if (this.#profiled === profiled) {
      this.#profiled = undefined
      return { places: profiled === 'time' ? await this.#endTime() : await this.#endMemory() }
    }
    this.#profiled = profiled
    this.#session.connect()
    await (profiled === 'time' ? this.#beginTime() : this.#beginMemory())
    return { places: [] }
  }

  async #beginTime(): Promise<void> {
    await this.#session.post('Profiler.enable')
    await this.#session.post('Profiler.setSamplingInterval', { interval: TIME })
    await this.#session.post('Profiler.start')
  }

  async #endTime(): Promise<Place[]> {
    const { profile } = await this.#session.post('Profiler.stop')
    this.#session.disconnect()
    const nodes = new Map(profile.nodes.map((node) => [node.id, node.callFrame]))
    return (profile.samples ?? []).map((id, at) => {
      const { functionName, url } = nodes.get(id)!
      return { function: functionName, url, amount: profile.timeDeltas?.[at] ?? 0 }
    })
  }

  // What has been collected counts too: it had to be made.
  #beginMemory(): Promise<void> {
    const all = { includeObjectsCollectedByMajorGC: true, includeObjectsCollectedByMinorGC: true }
    return this.#session.post('HeapProfiler.startSampling', { samplingInterval: MEMORY, ...all })
  }

  async #endMemory(): Promise<Place[]> {
    const { profile } = await this.#session.post('HeapProfiler.stopSampling')
    this.#session.disconnect()
    return placesIn(profile.head)
  }
}

function placesIn({ callFrame, selfSize, children }: HeapNode): Place[] {
  const { functionName, url } = callFrame
  return [{ function: functionName, url, amount: selfSize }, ...children.flatMap(placesIn)]
}
