import type { Duration } from '../core/values.ts'
import type { RouteOptions } from './route.ts'

/** Options that go together: headers alone decide (`rfc9111`), and every feature of HTTP caching that is optional beside (`rfc9111-full`). */
export type Preset = 'rfc9111' | 'rfc9111-full'

type PresetOptions = Omit<RouteOptions, 'ttl' | 'tags' | 'name'> & { readonly ttl: Duration }

// The headers decide: no lifetime that they do not give, and nothing that they do not say.
const RFC_9111: PresetOptions = {
  ttl: 0,
  clientCacheControl: false,
  scope: 'explicit',
  normaliseVary: { 'accept-language': 'case-insensitive-list' },
}

export const PRESETS: Readonly<Record<Preset, PresetOptions>> = {
  rfc9111: RFC_9111,
  'rfc9111-full': {
    ...RFC_9111,
    scope: 'rfc9111',
    heuristic: true,
    requestDirectives: true,
    targetedFields: ['CDN-Cache-Control'],
    staleIfError: '1 day',
    storeSetCookie: true,
    storePost: true,
    storePartial: true,
    normaliseVary: { 'accept-language': 'languages', '*': 'list' },
  },
}
