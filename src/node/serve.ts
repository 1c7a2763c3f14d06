import type { IncomingMessage, ServerResponse } from 'node:http'
import type { Cache, Finding, Run } from '../cache.ts'
import { isPromise } from '../core/maybe.ts'
import { type ResolvedRoute, type RouteOptions, shareKey } from '../options.ts'
import type { Target, Visit } from '../visit.ts'
import { capture, type Recording } from './capture.ts'
import { interceptHead } from './head.ts'
import { replay } from './replay.ts'

/** A request on its way through a `cached()`. */
export interface Passage {
  readonly cache: Cache
  readonly options: RouteOptions<never>
  readonly route: ResolvedRoute
  readonly req: IncomingMessage
  readonly res: ServerResponse
  /** What the functions among the options are called with. */
  readonly args: readonly unknown[]
  readonly target: () => Target
}

/** What a cache is doing about a response: a run being recorded, or nothing but telling that it does nothing. */
export interface Layer {
  readonly run?: Run
  readonly recording?: Recording
  isSilent: boolean
}

const layers = new WeakMap<ServerResponse, Map<Cache, Layer>>()

/** The layer of a cache around a response. */
export function layerOf(cache: Cache, res: ServerResponse): Layer | undefined {
  return layers.get(res)?.get(cache)
}

/** Makes `layer` the one that counts for this cache. */
export function setLayer(cache: Cache, res: ServerResponse, layer: Layer): void {
  const known = layers.get(res)
  if (known) known.set(cache, layer)
  else layers.set(res, new Map([[cache, layer]]))
}

/** Answers from the cache, or has `proceed` run the handler and its response recorded. */
export function serve(passage: Passage, proceed: () => void): void {
  const { cache, res } = passage
  const route = enter(passage)
  if (!route) return proceed()
  const finding = cache.look(visitOf(passage, route), (leave) => res.once('close', leave))
  if (isPromise(finding)) void finding.then((found) => act(passage, found, proceed))
  else act(passage, finding, proceed)
}

/**
 * The options that count for this layer; undefined where an outer layer of the same cache is at work already and only
 * needed refining.
 */
export function enter({ cache, options, route, res }: Passage): ResolvedRoute | undefined {
  const outer = layerOf(cache, res)
  if (!outer) return route
  outer.isSilent = true
  if (!outer.run || outer.run.isOver) return route
  const refined = cache.route(options, outer.run.route)
  if (!shareKey(refined, outer.run.route)) {
    outer.recording?.stepBack()
    return refined
  }
  outer.isSilent = false
  cache.refine(outer.run, refined)
  return undefined
}

export function visitOf({ req, args, target }: Passage, route: ResolvedRoute): Visit {
  return { method: req.method ?? 'GET', headers: req.headers, target: target(), route, args }
}

function act(passage: Passage, finding: Finding, proceed: () => void): void {
  const { cache, req, res } = passage
  if (finding.kind === 'hit') {
    replay(req, res, finding.entry, finding)
  } else if (finding.kind === 'pass') {
    announce(passage, finding)
    proceed()
  } else if (res.destroyed) {
    // Whoever left while waiting needs no handler run.
    cache.abandon(finding.run, 'aborted')
  } else {
    setLayer(cache, res, { run: finding.run, recording: capture(cache, finding.run, req, res), isSilent: false })
    proceed()
  }
}

/** Has Cache-Status say why the cache stood aside, and leaves the record, unless an inner layer of it takes over. */
export function announce(
  { cache, res, route, target }: Passage,
  { trace, cacheStatus }: Finding & { kind: 'pass' },
): void {
  const { methods } = target()
  if (trace.reason === 'method' && methods && !methods.some((method) => route.methods.has(method))) {
    cache.warn('TAGCACHE_UNSAFE_ROUTE', trace.route)
  }
  const layer: Layer = { isSilent: false }
  setLayer(cache, res, layer)
  let isRecorded = false
  const record = () => {
    if (!layer.isSilent && !isRecorded) cache.record(trace)
    isRecorded = true
  }
  res.once('close', record)
  interceptHead(res, ({ fields }) => {
    record()
    if (layer.isSilent) return undefined
    const below = fields['cache-status']
    const value = below === undefined ? cacheStatus : `${[below].flat().join(', ')}, ${cacheStatus}`
    return { set: [['Cache-Status', value]], remove: [] }
  })
}
