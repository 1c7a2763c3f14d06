import { describe } from 'vitest'
import { cacheStatus } from '../adapters/shared/cache-status.ts'
import { credentials } from '../adapters/shared/credentials.ts'
import { flights } from '../adapters/shared/flights.ts'
import { groups } from '../adapters/shared/groups.ts'
import { hits } from '../adapters/shared/hits.ts'
import { keys } from '../adapters/shared/keys.ts'
import { layers } from '../adapters/shared/layers.ts'
import { negotiation } from '../adapters/shared/negotiation.ts'
import { options } from '../adapters/shared/options.ts'
import { purge } from '../adapters/shared/purge.ts'
import { ranges } from '../adapters/shared/ranges.ts'
import { earlyRefresh, jitter, staleIfError, staleWhileRevalidate } from '../adapters/shared/stale.ts'
import { tags } from '../adapters/shared/tags.ts'
import { unsafe } from '../adapters/shared/unsafe.ts'
import { validation } from '../adapters/shared/validation.ts'
import { validators } from '../adapters/shared/validators.ts'
import { vary } from '../adapters/shared/vary.ts'
import { fronted, STACKS } from '../support/stacks.ts'

describe.each(STACKS.map(fronted))('$name, from in front', (stack) => {
  describe('hits and misses', () => hits(stack))
  describe('tags', () => tags(stack))
  describe('validators', () => validators(stack))
  describe('validation', () => validation(stack))
  describe('stale-while-revalidate', () => staleWhileRevalidate(stack))
  describe('stale-if-error', () => staleIfError(stack))
  describe('early refresh', () => earlyRefresh(stack))
  describe('jitter', () => jitter(stack))
  describe('Cache-Status', () => cacheStatus(stack))
  describe('credentials', () => credentials(stack))
  describe('Vary', () => vary(stack))
  describe('keys', () => keys(stack))
  describe('options', () => options(stack))
  describe('layers of cached()', () => layers(stack))
  describe('invalidates()', () => purge(stack))
  describe('coalescing', () => flights(stack))
  describe('ranges', () => ranges(stack))
  describe('unsafe methods', () => unsafe(stack))
  describe('groups', () => groups(stack))
  describe('negotiation', () => negotiation(stack))
})
