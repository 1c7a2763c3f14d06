import type { Browser, BrowserContextOptions } from 'playwright-core'
import { afterAll, beforeAll, describe, expect, onTestFinished } from 'vitest'
import type { TagBackend } from '../../src/index.ts'
import { findChromium, launch, open, type WatchedPage } from './browser.ts'
import { openShop, type Shop } from './shop.ts'

/** A page open on the dashboard of a shop. */
export type Watched = WatchedPage & { readonly shop: Shop }

/** Opens the page for one test. Nothing may go wrong in it, whatever the test is about. */
export type Watch = (
  hash?: string,
  options?: BrowserContextOptions & {
    readOnly?: boolean
    perSecond?: number
    authorize?: () => { name: string } | undefined
    backend?: TagBackend
    /** What the browser may complain of, since the test is about it. */
    expected?: RegExp
  },
) => Promise<Watched>

/** Tests of the page in a real browser; skipped where there is none. */
export function inBrowser(name: string, tests: (watch: Watch) => void): void {
  const executable = findChromium()
  describe.skipIf(!executable)(name, () => {
    let browser: Browser
    beforeAll(async () => {
      browser = await launch(executable!)
    }, 60_000)
    afterAll(() => browser?.close())
    tests(async (hash = '', { readOnly, perSecond = 0, authorize, backend, expected, ...context } = {}) => {
      const shop = await openShop({
        ...(readOnly === undefined ? {} : { readOnly }),
        ...(authorize ? { authorize } : {}),
        ...(backend ? { backend } : {}),
      })
      const stop = perSecond > 0 ? shop.visit(perSecond) : () => {}
      const watched = await open(browser, `${shop.server.url}/cache/${hash}`, context)
      onTestFinished(async () => {
        stop()
        await watched.page.context().close()
        await shop.close()
        expect(watched.faults.filter((fault) => !expected?.test(fault))).toEqual([])
      })
      return { ...watched, shop }
    })
  })
}

/** Stores products. */
export function fill(shop: Shop, ids: readonly number[]): void {
  for (const id of ids)
    shop.cache.set('GET /products/:id', { params: { id } }, ['products', `product:${id}`], {
      body: `{"id":${id}}`,
      headers: { 'content-type': 'application/json' },
    })
}
