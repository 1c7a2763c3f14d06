/**
 * The API, with what a cache needs to know of it: reads name the tags that their answer depends on, writes name the
 * tags that they have outdated. `cached`, `invalidates` and `tag` are what `tagcache()` returns.
 *
 *   city:42      everything shown of city 42
 *   ranking:DE   the order of the German cities by size
 *   names:DE     which German cities a search finds
 */
import express, { type ErrorRequestHandler, type Express, type Request, type Response } from 'express'
import type { tagcache } from 'tagcache/express'
import { type City, type CityChange, changeCity, findCity, findNearest, listLargest } from './cities.ts'
import type { Database } from './database.ts'
import { RequestError, readChange, readCountryList, readId, readPoint } from './input.ts'

export type Caching = Pick<ReturnType<typeof tagcache>, 'cached' | 'invalidates' | 'tag'>

export function createApp(database: Database, { cached, invalidates, tag }: Caching): Express {
  const app = express()

  app.get('/cities/nearest', cached({ ttl: '5m' }), showNearest)
  app.get('/cities/:id', cached({ ttl: '5m', tags: (req) => [`city:${req.params.id}`] }), showCity)
  app.get('/countries/:country/cities', cached({ ttl: '5m', tags: tagsOfList }), showLargest)
  app.patch('/cities/:id', invalidates(tagsOutdated), express.json(), updateCity)
  app.use(answerError)
  return app

  async function showNearest(req: Request, res: Response): Promise<void> {
    const { lat, lng, limit } = readPoint(req)
    const cities = await findNearest(database, lat, lng, limit)
    tagShownCities(res, cities)
    res.json({ cities })
  }

  async function showCity(req: Request, res: Response): Promise<void> {
    const city = await findCity(database, readId(req))
    if (!city) throw new RequestError(404, 'no such city')
    res.json(city)
  }

  async function showLargest(req: Request, res: Response): Promise<void> {
    const list = readCountryList(req)
    const { total, cities } = await listLargest(database, list)
    if (cities.length === 0 && (list.page > 1 || !list.search)) throw new RequestError(404, 'no such country or page')
    tagShownCities(res, cities)
    res.json({ page: list.page, total, cities })
  }

  async function updateCity(req: Request, res: Response): Promise<void> {
    const change = readChange(req)
    const city = await changeCity(database, readId(req), change)
    if (!city) throw new RequestError(404, 'no such city')
    res.locals.written = { change, city }
    res.json(city)
  }

  /** Which cities an answer shows is known only once the query has run. */
  function tagShownCities(res: Response, cities: City[]): void {
    for (const city of cities) tag(res, `city:${city.id}`)
  }
}

function tagsOfList(req: Request): string[] {
  const { country } = req.params
  return req.query.q === undefined ? [`ranking:${country}`] : [`ranking:${country}`, `names:${country}`]
}

/** A new name cannot change the order by size, a new population cannot change what a search finds. */
function tagsOutdated(_req: Request, res: Response): string[] {
  const written: { change: CityChange; city: City } | undefined = res.locals.written
  if (!written) return []
  const { change, city } = written
  const tags = [`city:${city.id}`]
  if (change.name !== undefined) tags.push(`names:${city.country}`)
  if (change.population !== undefined) tags.push(`ranking:${city.country}`)
  return tags
}

const answerError: ErrorRequestHandler = (error: Error & { status?: number }, _req, res, next) => {
  if (res.headersSent) return next(error)
  const status = error.status ?? 500
  res.status(status).json({ error: status < 500 ? error.message : 'internal error' })
}
