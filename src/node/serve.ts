import type { IncomingMessage, ServerResponse } from 'node:http'
import { chain, isPromise, type MaybePromise } from '../core/maybe.ts'
import type { Flow } from '../flow/flow.ts'
import { abandon } from '../flow/land.ts'
import { look } from '../flow/look.ts'
import { adoptPost, startPost } from '../flow/post.ts'
import { purge } from '../flow/purge.ts'
import type { Finding, Run } from '../flow/run.ts'
import { refine, withheldFields } from '../flow/tags.ts'
import type { Fields } from '../http/fields.ts'
import { carried } from '../http/position.ts'
import { type ResolvedRoute, type RouteOptions, shareKey } from '../options/route.ts'
import type { Call, Sighting, Target, Visit } from '../visit.ts'
import { capture, negotiatedVary, type Recording } from './capture.ts'
import { onClose } from './close.ts'
import { interceptHead } from './head.ts'
import { rememberHome } from './home.ts'
import { purgeOnAnswer } from './purge.ts'
import { answerQuestion, isQuestion, pathOf } from './question.ts'
import { type Application, arrive, canRefresh, isRefresh, startRefresh } from './refresh.ts'
import { afterOthers, refuse, replay } from './replay.ts'
import { impliedPurge, isOfOwnUri, isSafe } from './unsafe.ts'

/** A request on its way through a `cached()`. */
export interface Passage {
  readonly flow: Flow
  readonly options: RouteOptions<never>
  readonly route: ResolvedRoute
  readonly req: IncomingMessage
  readonly res: ServerResponse
  readonly call: Call
  readonly target: () => Target
  /** Gives the application, where it can be run again without its server. */
  readonly application?: Application
}

/** What counts for a layer: its options over those of the layers around it, and how to call the functions among them. */
export interface Standing {
  readonly route: ResolvedRoute
  readonly call: Call
}

/** What a cache is doing about a response: a run being recorded, or nothing but telling that it does nothing. */
export class Layer implements Standing {
  readonly route: ResolvedRoute
  readonly call: Call
  readonly run: Run | undefined
  readonly recording: Recording | undefined
  isSilent: boolean

  constructor({ route, call }: Standing, isSilent: boolean, run?: Run, recording?: Recording) {
    this.route = route
    this.call = call
    this.isSilent = isSilent
    this.run = run
    this.recording = recording
  }
}

// Not a WeakMap: until a full collection, V8 keeps all that one of some age leads to, and a recording leads back to the response.
const LAYERS = Symbol('tagcache: layers')
type Layered = ServerResponse & { [LAYERS]?: Map<Flow, Layer> }

/** The layer of a cache around a response. */
export function layerOf(flow: Flow, res: Layered): Layer | undefined {
  return res[LAYERS]?.get(flow)
}

/** Makes `layer` the one that counts for this cache. */
function setLayer(flow: Flow, res: Layered, layer: Layer): void {
  const known = res[LAYERS]
  if (known) known.set(flow, layer)
  else res[LAYERS] = new Map<Flow, Layer>().set(flow, layer)
}

/** Answers from the cache, or has `proceed` run the handler and its response recorded. */
export function serve(passage: Passage, proceed: () => void): void {
  const standing = enter(passage)
  if (!standing) return proceed()
  const began = passage.flow.events.beginAnswer()
  const finding = find(passage, standing)
  if (isPromise(finding)) void finding.then((found) => act(passage, found, standing, proceed, began))
  else act(passage, finding, standing, proceed, began)
}

/**
 * What counts for this layer; undefined where an outer layer of the same cache is at work already and only needed
 * refining, or where the response has begun, so that nothing can be done about it.
 */
export function enter({ flow, options, route, req, res, call }: Passage): Standing | undefined {
  if (res.headersSent) return undefined
  const outer = layerOf(flow, res)
  if (!outer) return { route, call }
  if (!isQuestion(req)) flow.nested.set(pathOf(req), true)
  const base = outer.run ?? outer
  const refined = { route: flow.route(options, base.route), call: callIn(base, call) }
  if (outer.run && !outer.run.isOver && shareKey(refined.route, outer.run.route)) {
    refine(flow, outer.run, refined.route, refined.call)
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

/** The first look; of a request that was made for a refresh, the way to its run. Where it fails, the request goes on as it came. */
export function find(passage: Passage, standing: Standing): MaybePromise<Finding> {
  try {
    return findOut(passage, standing)
  } catch (error) {
    // An application may have changed what its framework tells of a request by.
    passage.flow.events.emit({ type: 'fault', operation: 'look', error })
    return { kind: 'ignore' }
  }
}

function findOut(passage: Passage, standing: Standing): MaybePromise<Finding> {
  const { flow, req, res } = passage
  const visit = new PassingVisit(passage, standing)
  if (isQuestion(req)) return answerQuestion(flow, req, visit, passage.options)
  if (!flow.hasApplication) rememberHome(flow, req, passage.application)
  const arrived = isRefresh(req) ? arrive(flow, req, visit) : undefined
  return arrived ?? look(flow, visit, (leave) => onClose(res, leave))
}

// Made by a class: see docs/decisions/express-shapes.md.
class PassingVisit implements Visit {
  readonly method: string
  readonly headers: Fields
  readonly position: string | undefined
  readonly target: Target
  readonly route: ResolvedRoute
  readonly call: Call
  readonly canRefresh: () => boolean
  readonly sighting: Sighting | undefined

  constructor({ flow, req, target, application }: Passage, { route, call }: Standing) {
    const { carrier } = flow.options
    const sent = carrier ? carried(carrier, req.headers) : undefined
    this.method = req.method ?? 'GET'
    this.headers = sent?.headers ?? req.headers
    this.position = sent?.position
    this.target = target()
    this.route = route
    this.call = call
    this.canRefresh = () => canRefresh(req, application)
    this.sighting = flow.front?.sightingOf(req)
  }
}

/** Makes in the background what a finding asks for. */
export function refreshIn({ flow, req, application }: Passage, run: Run | undefined): void {
  if (run) startRefresh(flow, run, req, application)
}

function act(passage: Passage, finding: Finding, standing: Standing, proceed: () => void, began?: number): void {
  const { flow, req, res } = passage
  if (finding.kind === 'hit') {
    refreshIn(passage, finding.refresh)
    // A layer above may have answered meanwhile, or begun to.
    if (!res.headersSent) countAnswer(flow, finding, replay(req, res, finding.entry, finding), began)
    else if (!res.writableEnded) proceed()
  } else if (finding.kind === 'pass') {
    const run = announce(passage, finding, standing)
    if (run) record(passage, run)
    proceed()
  } else if (finding.kind === 'run') {
    // Whoever left while waiting needs no handler run.
    if (res.destroyed) return abandon(flow, finding.run, 'aborted')
    record(passage, finding.run)
    proceed()
  } else if (finding.kind === 'complete') {
    refreshIn(passage, finding.refresh)
    void finding.result.then((found) => act(passage, found, standing, proceed))
  } else if (finding.kind === 'refuse') {
    flow.record(finding.trace)
    refuse(res, finding.cacheStatus)
  } else if (finding.kind === 'explained') {
    res.statusCode = 204
    res.end()
  } else {
    ignore(passage, standing)
    proceed()
  }
}

/** Counts an answer from the cache: what was sent, and how long it took where that is measured. */
export function countAnswer(
  { events }: Flow,
  { counters, hasWaited }: Finding & { kind: 'hit' },
  bytes: number,
  began: number | undefined,
): void {
  counters.served += bytes
  if (!hasWaited) events.endAnswer(began)
}

/** Lets a request of ours through to the layer that it was made for. */
export function ignore({ flow, res }: Passage, standing: Standing): void {
  setLayer(flow, res, new Layer(standing, true))
}

/** Records what the layers below make of the run. */
export function record({ flow, req, res, application }: Passage, run: Run): Recording {
  rememberHome(flow, req, application)
  if (!run.isRefresh && run.forward !== 'method') for (const tell of flow.events.forwards) tell(run.why)
  const recording = capture(flow, run, req, res)
  setLayer(flow, res, new Layer(run, false, run, recording))
  return recording
}

/**
 * Has Cache-Status say why the cache stood aside, and leaves the record, unless an inner layer of it takes over. After an
 * unsafe request what its URI gave before is purged.
 * @returns a run for the response to a POST, where that may be stored
 */
export function announce(
  passage: Passage,
  { trace, cacheStatus }: Finding & { kind: 'pass' },
  standing: Standing,
): Run | undefined {
  const { flow, req, res, target, application } = passage
  const { route } = standing
  rememberHome(flow, req, application)
  if (trace.reason === 'method') {
    const { methods } = target()
    if (methods && !methods.some((method) => route.methods.has(method))) flow.warn('TAGCACHE_UNSAFE_ROUTE', trace.route)
    const run = isSafe(req.method) ? undefined : purgeAfterUnsafe(passage, standing)
    if (run) return run
  }
  const layer = new Layer(standing, isRefresh(req))
  setLayer(flow, res, layer)
  let isRecorded = false
  const began = flow.now()
  const leaveRecord = () => {
    if (!layer.isSilent && !isRecorded) flow.record({ ...trace, cost: flow.now() - began })
    isRecorded = true
  }
  onClose(res, leaveRecord)
  interceptHead(res, {
    change: ({ status, fields }) => {
      leaveRecord()
      if (layer.isSilent) return undefined
      const vary = negotiatedVary(route, { status, fields }, { fields, outerSayings: {} })
      const added = vary === undefined ? [] : [['Vary', vary] as const]
      return { set: [['Cache-Status', afterOthers(fields, cacheStatus)], ...added], remove: withheldFields(route) }
    },
  })
  return undefined
}

function purgeAfterUnsafe(passage: Passage, standing: Standing): Run | undefined {
  const { flow, req, res, target } = passage
  const implied = impliedPurge(flow, req, res, target)
  const run =
    req.method === 'POST' && standing.route.storePost ? startPost(flow, new PassingVisit(passage, standing)) : undefined
  const settle = purgeOnAnswer(flow, res, (status, fields) => {
    // The end of an answer that is kept itself has nothing more to purge.
    if (run && !run.isSkipped) return true
    const { groups, uris } = implied(status, fields)
    const isGet = run !== undefined && status === 200 && isOfOwnUri(run.visit.target, fields)
    const purged = isGet ? adoptPost(flow, run, fields, { tags: groups, uris }) : purge(flow, groups, uris)
    // Nobody has asked to be told where it fails.
    return chain(purged, () => true)
  })
  if (run) run.prelude = settle
  return run
}
