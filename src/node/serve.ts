import type { IncomingMessage, ServerResponse } from 'node:http'
import type { Cache, Finding, Run } from '../cache.ts'
import { isPromise } from '../core/maybe.ts'
import { type ResolvedRoute, type RouteOptions, shareKey } from '../options.ts'
import type { Call, Target, Visit } from '../visit.ts'
import { capture, type Recording } from './capture.ts'
import { onClose } from './close.ts'
import { interceptHead } from './head.ts'
import { afterOthers, replay } from './replay.ts'

/** A request on its way through a `cached()`. */
export interface Passage {
  readonly cache: Cache
  readonly options: RouteOptions<never>
  readonly route: ResolvedRoute
  readonly req: IncomingMessage
  readonly res: ServerResponse
  readonly call: Call
  readonly target: () => Target
}

/** What counts for a layer: its options over those of the layers around it, and how to call the functions among them. */
export interface Standing {
  readonly route: ResolvedRoute
  readonly call: Call
}

/** What a cache is doing about a response: a run being recorded, or nothing but telling that it does nothing. */
export interface Layer extends Standing {
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
function setLayer(cache: Cache, res: ServerResponse, layer: Layer): void {
  const known = layers.get(res)
  if (known) known.set(cache, layer)
  else layers.set(res, new Map([[cache, layer]]))
}

/** Answers from the cache, or has `proceed` run the handler and its response recorded. */
export function serve(passage: Passage, proceed: () => void): void {
  const { cache, res } = passage
  const standing = enter(passage)
  if (!standing) return proceed()
  const finding = cache.look(visitOf(passage, standing), (leave) => onClose(res, leave))
  if (isPromise(finding)) void finding.then((found) => act(passage, found, standing, proceed))
  else act(passage, finding, standing, proceed)
}

/**
 * What counts for this layer; undefined where an outer layer of the same cache is at work already and only needed
 * refining, or where the response has begun, so that nothing can be done about it.
 */
export function enter({ cache, options, route, res, call }: Passage): Standing | undefined {
  if (res.headersSent) return undefined
  const outer = layerOf(cache, res)
  if (!outer) return { route, call }
  const base = outer.run ?? outer
  const refined = { route: cache.route(options, base.route), call: callIn(base, call) }
  if (outer.run && !outer.run.isOver && shareKey(refined.route, outer.run.route)) {
    cache.refine(outer.run, refined.route, refined.call)
    return undefined
  }
  outer.isSilent = true
  outer.recording?.stepBack()
  return refined
}

// A function that an outer layer has brought along is called as it is there: with the parameters of that layer.
function callIn(outer: Standing, call: Call): Call {
  const { tags, scope, host, key, enabled } = outer.route
  const theirs = new Set<unknown>([...tags, scope, host, key, enabled])
  return (option) => (theirs.has(option) ? outer.call : call)(option)
}

export function visitOf({ req, target }: Passage, { route, call }: Standing): Visit {
  return { method: req.method ?? 'GET', headers: req.headers, target: target(), route, call }
}

function act(passage: Passage, finding: Finding, standing: Standing, proceed: () => void): void {
  const { cache, req, res } = passage
  // A layer above may have answered meanwhile, or begun to.
  if (finding.kind === 'hit' && res.headersSent) {
    if (!res.writableEnded) proceed()
  } else if (finding.kind === 'hit') {
    replay(req, res, finding.entry, finding)
  } else if (finding.kind === 'pass') {
    announce(passage, finding, standing)
    proceed()
  } else if (res.destroyed) {
    // Whoever left while waiting needs no handler run.
    cache.abandon(finding.run, 'aborted')
  } else {
    record(passage, finding.run)
    proceed()
  }
}

/** Records what the layers below make of the run. */
export function record({ cache, req, res }: Passage, run: Run): Recording {
  const recording = capture(cache, run, req, res)
  setLayer(cache, res, { route: run.route, call: run.call, run, recording, isSilent: false })
  return recording
}

/** Has Cache-Status say why the cache stood aside, and leaves the record, unless an inner layer of it takes over. */
export function announce(
  { cache, res, target }: Passage,
  { trace, cacheStatus }: Finding & { kind: 'pass' },
  { route, call }: Standing,
): void {
  const { methods } = target()
  if (trace.reason === 'method' && methods && !methods.some((method) => route.methods.has(method))) {
    cache.warn('TAGCACHE_UNSAFE_ROUTE', trace.route)
  }
  const layer: Layer = { route, call, isSilent: false }
  setLayer(cache, res, layer)
  let isRecorded = false
  const leaveRecord = () => {
    if (!layer.isSilent && !isRecorded) cache.record(trace)
    isRecorded = true
  }
  onClose(res, leaveRecord)
  interceptHead(res, {
    change: ({ fields }) => {
      leaveRecord()
      return layer.isSilent ? undefined : { set: [['Cache-Status', afterOthers(fields, cacheStatus)]], remove: [] }
    },
  })
}
