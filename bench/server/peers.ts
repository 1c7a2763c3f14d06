import type { RequestHandler } from 'express'
import { peerDefault } from './subject.ts'

// Middleware of others for Express, each as its page shows it

interface Apicache {
  middleware(duration: string): RequestHandler
}

interface OutputCache {
  readonly middleware: RequestHandler
}

export async function apicache(): Promise<RequestHandler> {
  return (await peerDefault<Apicache>('apicache')).middleware('1 hour')
}

export async function apicachePlus(): Promise<RequestHandler> {
  return (await peerDefault<(duration: string) => RequestHandler>('apicache-plus'))('1 hour')
}

export async function routeCache(): Promise<RequestHandler> {
  return (await peerDefault<{ cacheSeconds(ttl: number): RequestHandler }>('route-cache')).cacheSeconds(3600)
}

export async function outputcache(): Promise<RequestHandler> {
  const OutputCache = await peerDefault<new (options: object) => OutputCache>('outputcache')
  return new OutputCache({ ttl: 3600, maxItems: 200_000 }).middleware
}
