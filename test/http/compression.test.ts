import { describe, expect, it } from 'vitest'
import { mayBeCompressed, tagInCoding, varyOnCoding } from '../../src/http/compression.ts'
import { codingWeights, weightOf } from '../../src/http/negotiation.ts'

const JSON_TYPE = { 'content-type': 'application/json; charset=utf-8' }

describe('what may be compressed', () => {
  it.each([
    ['application/json', true],
    ['text/html; charset=utf-8', true],
    ['image/svg+xml', true],
    ['application/vnd.own+json', true],
    ['image/png', false],
    ['application/zip', false],
    ['video/mp4', false],
    ['', false],
    ['constructor', false],
  ])('by the type %j: %j', (type, expected) => {
    expect(mayBeCompressed(200, { 'content-type': type })).toBe(expected)
  })

  it('is nothing without a type, nor another status than 200', () => {
    expect(mayBeCompressed(200, {})).toBe(false)
    for (const status of [201, 203, 204, 206, 301, 304, 404, 500]) {
      expect([status, mayBeCompressed(status, JSON_TYPE)]).toEqual([status, false])
    }
  })

  it.each([
    ['cache-control', 'public, No-Transform'],
    ['content-encoding', 'identity'],
    ['content-digest', 'sha-256=:AAAA:'],
    ['repr-digest', 'sha-256=:AAAA:'],
    ['digest', 'sha-256=AAAA'],
    ['content-md5', 'AAAA'],
    ['content-range', 'bytes 0-1/2'],
    ['signature', 'a=:AAAA:'],
    ['vary', 'Origin, ACCEPT-Encoding'],
    ['vary', '*'],
  ])('is nothing with %s: %s', (name, value) => {
    expect(mayBeCompressed(200, JSON_TYPE)).toBe(true)
    expect(mayBeCompressed(200, { ...JSON_TYPE, [name]: value })).toBe(false)
  })

  it('is nothing that a layer above forbids to transform', () => {
    expect(mayBeCompressed(200, JSON_TYPE, 'no-transform')).toBe(false)
    expect(mayBeCompressed(200, JSON_TYPE, 'x="no-transform"')).toBe(true)
  })
})

describe('Vary for what is sent in several codings', () => {
  it.each([
    [undefined, 'Accept-Encoding'],
    ['', 'Accept-Encoding'],
    ['Origin', 'Origin, Accept-Encoding'],
    ['accept-encoding', 'accept-encoding'],
    ['Origin, Accept-Encoding', 'Origin, Accept-Encoding'],
  ])('from %j is %j', (before, expected) => {
    expect(varyOnCoding(before)).toBe(expected)
  })
})

describe('the entity-tag of a response in a coding', () => {
  it.each([
    ['"a"', '"a-br"'],
    ['""', '"-br"'],
    ['W/"a"', 'W/"a"'],
    ['a', 'a'],
    ['"a"b"', '"a"b"'],
  ])('of %s is %s', (etag, expected) => {
    expect(tagInCoding(etag, 'br')).toBe(expected)
  })
})

describe('how much a coding is wanted', () => {
  it.each([
    ['gzip', 'gzip', 1],
    ['X-GZIP;q=0.3', 'gzip', 0.3],
    ['gzip;q=0, gzip', 'gzip', 0],
    ['br;q=0, *', 'br', 0],
    ['br;q=0, *', 'gzip', 1],
    ['*;q=0', 'identity', 0],
    ['*;q=0, identity', 'identity', 1],
    ['identity;q=0', 'identity', 0],
    ['', 'gzip', 0],
  ])('by %j is, for %s, %d', (value, coding, expected) => {
    expect(weightOf(coding, codingWeights(value)!)).toBe(expected)
  })

  it('is something, and less than can be said, for no coding where nothing is said of that', () => {
    const weight = weightOf('identity', codingWeights('gzip;q=0.001')!)
    expect(weight).toBeGreaterThan(0)
    expect(weight).toBeLessThan(0.001)
  })

  it.each([undefined, 'gzip;q=2', 'gzip;level=1', 'br;'])('cannot be told by %j', (value) => {
    expect(codingWeights(value)).toBeUndefined()
  })
})
