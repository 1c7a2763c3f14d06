import { once } from 'node:events'
import { context, type Span, SpanStatusCode, trace } from '@opentelemetry/api'
import { AsyncLocalStorageContextManager } from '@opentelemetry/context-async-hooks'
import {
  AggregationTemporality,
  InMemoryMetricExporter,
  MeterProvider,
  type MetricData,
  PeriodicExportingMetricReader,
} from '@opentelemetry/sdk-metrics'
import {
  BasicTracerProvider,
  InMemorySpanExporter,
  type ReadableSpan,
  SimpleSpanProcessor,
} from '@opentelemetry/sdk-trace-base'
import express from 'express'
import { afterAll, beforeAll, describe, expect, it, onTestFinished } from 'vitest'
import { tagcache } from '../../src/adapters/express.ts'
import { type CacheOptions, createCache, memory, type TagBackend } from '../../src/index.ts'
import { MEASURES } from '../../src/observe/measures.ts'
import { type InstrumentOptions, instrument } from '../../src/observe/opentelemetry.ts'
import { Overridden } from '../support/backends.ts'
import { ask, gate, listen } from '../support/http.ts'
import { ManualTime } from '../support/time.ts'

beforeAll(() => void context.setGlobalContextManager(new AsyncLocalStorageContextManager().enable()))
afterAll(() => context.disable())

/** OpenTelemetry with all that it was told in memory. */
function telemetry() {
  const spans = new InMemorySpanExporter()
  const tracers = new BasicTracerProvider({ spanProcessors: [new SimpleSpanProcessor(spans)] })
  const exporter = new InMemoryMetricExporter(AggregationTemporality.CUMULATIVE)
  const reader = new PeriodicExportingMetricReader({ exporter, exportIntervalMillis: 3_600_000 })
  const meters = new MeterProvider({ readers: [reader] })
  onTestFinished(async () => {
    await meters.shutdown()
    await tracers.shutdown()
  })
  const metrics = async (): Promise<MetricData[]> => {
    exporter.reset()
    await meters.forceFlush()
    return exporter.getMetrics().flatMap(({ scopeMetrics }) => scopeMetrics.flatMap((scope) => scope.metrics))
  }
  return { tracer: tracers.getTracer('test'), meter: meters.getMeter('test'), spans, metrics }
}

/** A backend that is asked, over memory. */
function asked(changes: (inner: TagBackend<true>) => Partial<TagBackend> = () => ({})): TagBackend {
  const inner = memory()
  return new Overridden(inner, {
    sync: false,
    lookup: async (key) => inner.lookup(key),
    store: async (entry, ttl) => inner.store(entry, ttl),
    ...changes(inner),
  })
}

/** A shop whose requests have spans, as instrumentation makes them, and whose handlers make one of their own. */
async function setUp(options: CacheOptions<never> = {}, how: InstrumentOptions = {}) {
  const told = telemetry()
  const { tracer, meter } = told
  const time = new ManualTime()
  const { cache, cached } = tagcache({ time, ...options } as object)
  const stop = instrument(cache, { tracer, meter, ...how })
  const held = { handler: undefined as Promise<void> | undefined }
  const app = express()
    .get('/items/:id', cached({ tags: ['items'], staleWhileRevalidate: 60 }), async (_req, res) => {
      time.move(500)
      const query = tracer.startSpan('query')
      await held.handler
      query.end()
      res.send('an item')
    })
    .use('/pages', cached({ ttl: 60 }), (req, res) => void res.send(req.path))
    .get('/named', cached({ name: 'named' }), (_req, res) => void res.send('named'))
  let closed: Promise<unknown> | undefined
  const server = await listen((req, res) => {
    closed ??= once(res, 'close')
    tracer.startActiveSpan('server', (span: Span) => {
      res.once('close', () => span.end())
      app(req, res)
    })
  })
  onTestFinished(() => server.close())
  const get = async (path: string, headers = {}) => {
    closed = undefined
    const answer = await ask(server.url + path, { headers })
    // The span of a request ends after its client has the answer.
    await closed
    return answer
  }
  const taken = () => {
    const finished = told.spans.getFinishedSpans()
    told.spans.reset()
    return finished
  }
  return { ...told, cache, time, stop, held, get, taken, url: server.url }
}

/** The points of a metric as rows: value, attributes. */
function pointsOf(metrics: readonly MetricData[], name: string): [unknown, Record<string, unknown>][] {
  const { dataPoints = [] } = metrics.find(({ descriptor }) => descriptor.name === name) ?? {}
  return dataPoints.map(({ value, attributes }) => {
    const { 'tagcache.cache': _, ...rest } = attributes
    return [typeof value === 'object' ? value.count : value, rest]
  })
}

/** The names of a span and of those that it is within, the outermost first, as far as they have ended. */
function pathTo(spans: readonly ReadableSpan[], name: string): string[] {
  const path: string[] = []
  let span = spans.find((one) => one.name === name)
  while (span) {
    path.unshift(span.name)
    const { parentSpanContext: parent } = span
    span = spans.find((one) => one.spanContext().spanId === parent?.spanId)
  }
  return path
}

const ITEM = { 'http.request.method': 'GET', 'http.route': '/items/:id' }

describe('the metrics for OpenTelemetry', () => {
  it('count requests by outcome, reason and route, and time in seconds', async () => {
    const { get, metrics } = await setUp()
    await get('/items/1')
    await get('/items/1')
    await get('/items/1')
    await get('/items/1', { cookie: 'a=1' })
    await get('/named')
    const told = await metrics()
    expect(pointsOf(told, 'tagcache.requests')).toEqual([
      [1, { ...ITEM, 'tagcache.outcome': 'miss', 'tagcache.reason': 'uri-miss' }],
      [2, { ...ITEM, 'tagcache.outcome': 'hit' }],
      [1, { ...ITEM, 'tagcache.outcome': 'bypass', 'tagcache.reason': 'credentials' }],
      [1, { 'http.route': 'named', 'tagcache.outcome': 'miss', 'tagcache.reason': 'uri-miss' }],
    ])
    expect(pointsOf(told, 'tagcache.saved')).toEqual([[1, ITEM]])
    const duration = told.find(({ descriptor }) => descriptor.name === 'tagcache.handler.duration')!
    expect(duration.descriptor).toMatchObject({ unit: 's', type: 'HISTOGRAM' })
    expect(duration.dataPoints[0]!.value).toMatchObject({ count: 1, sum: 0.5 })
  })

  it('are of the names, units and kinds that the documentation lists', async () => {
    const backend = asked((inner) => ({
      lookup: (key) => (key.includes('broken') ? Promise.reject(new Error('down')) : inner.lookup(key)),
    }))
    const { get, cache, metrics } = await setUp({ backend })
    await get('/items/1')
    cache.flow.events.emit({ type: 'backend', state: 'near-lost' })
    for (const type of ['failure', 'refresh'] as const)
      cache.flow.events.emit({ type, route: 'a', key: 'a', stored: false, cost: 1, error: undefined })
    await cache.getByRequest('broken')
    await cache.clear()
    cache.flow.events.emit({ type: 'removal', reason: 'evicted', entries: 1 })
    cache.flow.warn('TAGCACHE_SCOPE_UNDEFINED')
    await get('/items/1')
    const told = (await metrics()).map(({ descriptor: { name, unit, description } }) => ({ name, unit, description }))
    const listed = Object.values(MEASURES)
      .filter(({ name }) => name !== 'tagcache.saved')
      .map(({ name, unit, description }) => ({ name, unit, description }))
    expect(told).toEqual(expect.arrayContaining(listed))
  })

  it('have a bounded number of routes, and no URLs', async () => {
    const { get, metrics } = await setUp({}, { maxRoutes: 2 })
    for (let at = 0; at < 10; at++) await get(`/pages/${at}?token=secret-${at}`)
    const told = await metrics()
    expect(pointsOf(told, 'tagcache.requests').map(([count, { 'http.route': route }]) => [count, route])).toEqual([
      [1, '/pages/0'],
      [1, '/pages/1'],
      [8, 'other'],
    ])
    expect(JSON.stringify(told)).not.toContain('secret')
  })

  it('read what is held when they are asked for, until they are stopped', async () => {
    const { get, cache, metrics, stop } = await setUp()
    await get('/items/1')
    expect(pointsOf(await metrics(), 'tagcache.entries')).toEqual([[1, {}]])
    expect(pointsOf(await metrics(), 'tagcache.size')).toEqual([[cache.stats().bytes, {}]])
    stop()
    await get('/items/2')
    expect(cache.stats().entries).toBe(2)
    expect(pointsOf(await metrics(), 'tagcache.requests')).toEqual([
      [1, { ...ITEM, 'tagcache.outcome': 'miss', 'tagcache.reason': 'uri-miss' }],
    ])
    expect(cache.flow.events.work.isEmpty).toBe(true)
  })
})

describe('the spans for OpenTelemetry', () => {
  it('of requests are told what became of them', async () => {
    const { get, taken } = await setUp()
    const attributes = async (headers = {}) => {
      await get('/items/1?token=secret', headers)
      return taken().find(({ name }) => name === 'server')!.attributes
    }
    expect(await attributes()).toEqual({
      'tagcache.outcome': 'miss',
      'tagcache.reason': 'uri-miss',
      'tagcache.stored': true,
      'tagcache.ttl': 60,
    })
    expect(await attributes()).toEqual({ 'tagcache.outcome': 'hit', 'tagcache.stored': false, 'tagcache.ttl': 60 })
    expect(await attributes({ cookie: 'a=1' })).toEqual({
      'tagcache.outcome': 'bypass',
      'tagcache.reason': 'credentials',
      'tagcache.stored': false,
    })
  })

  it('of requests are told why the handler runs, since they may end before the response is stored', async () => {
    const { opened, open } = gate()
    const backend = asked((inner) => ({ store: (entry, ttl) => opened.then(() => inner.store(entry, ttl)) }))
    const { get, taken } = await setUp({ backend })
    await get('/items/1')
    const [server] = taken().filter(({ name }) => name === 'server')
    expect(server!.attributes).toEqual({ 'tagcache.outcome': 'miss', 'tagcache.reason': 'uri-miss' })
    open()
  })

  it('of backend calls are children of the request that makes them, and handlers are not within them', async () => {
    const { get, taken } = await setUp({ backend: asked() })
    await get('/items/1')
    const spans = taken()
    const server = spans.find(({ name }) => name === 'server')!
    const names = spans.filter((span) => span.parentSpanContext?.spanId === server.spanContext().spanId)
    expect(names.map(({ name }) => name).sort()).toEqual(['query', 'tagcache lookup', 'tagcache store'])
    const lookup = spans.find(({ name }) => name === 'tagcache lookup')!
    expect(lookup.attributes).toEqual({ 'tagcache.cache': 'tagcache', 'tagcache.operation': 'lookup' })
    await get('/items/1')
    const again = taken()
    expect(again.map(({ name }) => name).sort()).toEqual(['server', 'tagcache lookup'])
    expect(again.find(({ name }) => name === 'server')!.attributes['tagcache.outcome']).toBe('hit')
  })

  it('of backend calls are around what the backend does', async () => {
    const told = telemetry()
    const backend = asked((inner) => ({
      lookup: async (key) => {
        await null
        told.tracer.startSpan('GET').end()
        return inner.lookup(key)
      },
    }))
    const cache = createCache({ backend })
    instrument(cache, { tracer: told.tracer, meter: false })
    await cache.getByRequest('a')
    const [inner, outer] = told.spans.getFinishedSpans()
    expect([inner?.name, outer?.name]).toEqual(['GET', 'tagcache lookup'])
    expect(inner?.parentSpanContext?.spanId).toBe(outer?.spanContext().spanId)
  })

  it('of backend calls that fail, or that have no end, say so without a message', async () => {
    const { tracer, spans } = telemetry()
    const time = new ManualTime()
    let answer: Promise<never> = Promise.reject(Object.assign(new Error('password'), { code: 'ECONNREFUSED' }))
    answer.catch(() => {})
    const cache = createCache({ time, backend: asked(() => ({ lookup: () => answer })) })
    instrument(cache, { tracer, meter: false })
    expect(await cache.getByRequest('a')).toBeUndefined()
    answer = gate<never>().opened
    time.move(1000)
    const late = cache.getByRequest('a')
    time.move(250)
    expect(await late).toBeUndefined()
    const ended = spans.getFinishedSpans()
    expect(ended.map(({ attributes }) => attributes['error.type'])).toEqual([
      'ECONNREFUSED',
      'ERR_TAGCACHE_BACKEND_TIMEOUT',
    ])
    for (const { status } of ended) expect(status).toEqual({ code: SpanStatusCode.ERROR })
  })

  it('of responses made anew in the background last until it is known what came of them, and have the handler within', async () => {
    const { get, time, taken, held, cache } = await setUp({ backend: asked() })
    await get('/items/1')
    time.move(60_000)
    taken()
    const { opened, open } = gate()
    held.handler = opened
    const isOver = new Promise<void>((resolve) => cache.on('refresh', () => setImmediate(resolve)))
    await get('/items/1')
    expect(
      taken()
        .map(({ name }) => name)
        .sort(),
    ).toEqual(['server', 'tagcache lookup'])
    open()
    await isOver
    const spans = taken()
    const refresh = spans.find(({ name }) => name === 'tagcache refresh')!
    expect(refresh.attributes).toEqual({ ...ITEM, 'tagcache.cache': 'tagcache', 'tagcache.stored': true })
    // The request is made again through the whole server, whose instrumentation makes a span of it.
    expect(pathTo(spans, 'query')).toEqual(['tagcache refresh', 'server', 'query'])
  })

  it('are none of a backend that answers at once', async () => {
    const { get, taken } = await setUp()
    await get('/items/1')
    await get('/items/1')
    expect(
      taken()
        .map(({ name }) => name)
        .sort(),
    ).toEqual(['query', 'server', 'server'])
  })

  it('are left out where there is no tracer, and the metrics where there is no meter', async () => {
    const { get, taken, metrics } = await setUp({ backend: asked() }, { tracer: false })
    await get('/items/1')
    const spans = taken()
    expect(spans.map(({ name }) => name).sort()).toEqual(['query', 'server'])
    expect(spans.find(({ name }) => name === 'server')!.attributes).toEqual({})
    expect((await metrics()).length).toBeGreaterThan(0)
    const other = await setUp({}, { meter: false })
    await other.get('/items/1')
    expect(await other.metrics()).toEqual([])
  })

  it('are made by the global provider where no tracer is given', async () => {
    const { tracer, spans } = telemetry()
    trace.setGlobalTracerProvider({ getTracer: () => tracer })
    onTestFinished(() => trace.disable())
    const cache = createCache({ backend: asked() })
    instrument(cache)
    await cache.getByRequest('a')
    expect(spans.getFinishedSpans().map(({ name }) => name)).toEqual(['tagcache lookup'])
  })
})
