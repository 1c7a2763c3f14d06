/** What clients send, checked: a value that the queries can take, or a `RequestError` that says what was wrong. */
import type { Request } from 'express'
import type { CityChange, CountryList } from './cities.ts'

export class RequestError extends Error {
  readonly status: number

  constructor(status: 400 | 404, message: string) {
    super(message)
    this.status = status
  }
}

const largestInt = 2 ** 31 - 1

export function readId(req: Request): number {
  return readInteger('id', req.params.id, 1, largestInt)
}

export function readPoint(req: Request): { lat: number; lng: number; limit: number } {
  return {
    lat: readDegrees('lat', req.query.lat, 90),
    lng: readDegrees('lng', req.query.lng, 180),
    limit: readInteger('limit', req.query.limit ?? '10', 1, 100),
  }
}

export function readCountryList(req: Request): CountryList {
  return {
    country: readCountry(req),
    ...(req.query.q === undefined ? {} : { search: readText('q', req.query.q) }),
    page: readInteger('page', req.query.page ?? '1', 1, 10_000),
    size: readInteger('size', req.query.size ?? '20', 1, 100),
  }
}

export function readChange(req: Request): CityChange {
  const body: unknown = req.body
  if (typeof body !== 'object' || body === null) throw new RequestError(400, 'send JSON: a name, a population or both')
  const { name, population, ...others } = body as Record<string, unknown>
  const unknownFields = Object.keys(others)
  if (unknownFields.length > 0) throw new RequestError(400, `cannot change ${unknownFields.join(', ')}`)
  if (name === undefined && population === undefined) throw new RequestError(400, 'name or population is missing')
  return {
    ...(name === undefined ? {} : { name: readText('name', name) }),
    ...(population === undefined ? {} : { population: readPopulation(population) }),
  }
}

function readCountry(req: Request): string {
  const { country } = req.params
  if (typeof country === 'string' && /^[A-Z]{2}$/.test(country)) return country
  throw new RequestError(400, 'country must be two capital letters, such as DE')
}

function readInteger(name: string, value: unknown, min: number, max: number): number {
  const number = typeof value === 'string' && /^(0|[1-9]\d{0,9})$/.test(value) ? Number(value) : Number.NaN
  if (number >= min && number <= max) return number
  throw new RequestError(400, `${name} must be a whole number from ${min} to ${max}`)
}

function readDegrees(name: string, value: unknown, max: number): number {
  const degrees = typeof value === 'string' && /^-?\d{1,3}(\.\d{1,15})?$/.test(value) ? Number(value) : Number.NaN
  if (Math.abs(degrees) <= max) return degrees
  throw new RequestError(400, `${name} must be degrees from -${max} to ${max}`)
}

function readPopulation(value: unknown): number {
  if (typeof value === 'number' && Number.isInteger(value) && value >= 0 && value <= largestInt) return value
  throw new RequestError(400, `population must be a whole number from 0 to ${largestInt}`)
}

/** PostgreSQL cannot hold the NUL character in a text. */
function readText(name: string, value: unknown): string {
  const text = typeof value === 'string' ? value.trim() : ''
  if (text.length > 0 && text.length <= 200 && !text.includes('\0')) return text
  throw new RequestError(400, `${name} must be a text of 1 to 200 characters`)
}
