import { describe } from 'vitest'
import { STACKS } from '../support/stacks.ts'
import { cacheStatus } from './shared/cache-status.ts'
import { compressing } from './shared/compression.ts'
import { credentials } from './shared/credentials.ts'
import { flights } from './shared/flights.ts'
import { groups } from './shared/groups.ts'
import { hits } from './shared/hits.ts'
import { keys } from './shared/keys.ts'
import { layers } from './shared/layers.ts'
import { negotiation } from './shared/negotiation.ts'
import { options } from './shared/options.ts'
import { purge } from './shared/purge.ts'
import { ranges } from './shared/ranges.ts'
import { earlyRefresh, jitter, staleIfError, staleWhileRevalidate } from './shared/stale.ts'
import { tags } from './shared/tags.ts'
import { unsafe } from './shared/unsafe.ts'
import { validation } from './shared/validation.ts'
import { validators } from './shared/validators.ts'
import { vary } from './shared/vary.ts'

describe.each(STACKS)('$name', (stack) => {
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
  describe('compression', () => compressing(stack))
})
