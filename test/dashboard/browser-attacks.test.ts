import type { Browser } from 'playwright-core'
import { afterAll, beforeAll, describe, expect, it, onTestFinished } from 'vitest'
import { listen } from '../support/http.ts'
import { findChromium, launch, open } from './browser.ts'
import { HOSTILE, openShop } from './shop.ts'

const executable = findChromium()

describe.skipIf(!executable)('in a browser whose user may purge', () => {
  let browser: Browser

  beforeAll(async () => {
    browser = await launch(executable!)
  }, 60_000)
  afterAll(() => browser?.close())

  it('names of visitors and routes, and texts of errors, are shown as text, also those that come by themselves', async () => {
    const shop = await openShop({ authorize: () => ({ name: HOSTILE }) })
    const { page, faults } = await open(browser, `${shop.server.url}/cache/`)
    onTestFinished(async () => {
      await page.context().close()
      await shop.close()
    })
    await page.locator('#whose', { hasText: HOSTILE }).waitFor()
    await page.getByRole('link', { name: 'Activity', exact: true }).click()
    const { flow } = shop.cache
    flow.events.emit({ type: 'fault', operation: HOSTILE, error: new Error(HOSTILE) })
    flow.events.emit({ type: 'failure', route: HOSTILE, error: HOSTILE })
    flow.events.emit({
      type: 'trace',
      outcome: 'miss',
      route: HOSTILE,
      reason: HOSTILE as never,
      stored: true,
      cost: 5,
    })
    shop.cache.invalidateRoute(HOSTILE, { by: HOSTILE })
    await page.locator('.events').getByText(`by ${HOSTILE}`).waitFor()
    await page.getByRole('link', { name: 'Routes', exact: true }).click()
    await page.locator('tbody', { hasText: HOSTILE }).waitFor()
    expect(await page.title()).not.toContain('taken')
    expect(await page.locator('main img, #whose img').count()).toBe(0)
    expect(faults).toEqual([])
  })

  it('a page of another origin can neither purge, nor read, nor show the dashboard', async () => {
    const shop = await openShop()
    shop.cache.set('GET /a', {}, ['t'], { body: 'one' })
    const evil = await listen((_req, res) => res.setHeader('content-type', 'text/html').end('<!doctype html><p>evil'))
    const { page } = await open(browser, evil.url)
    onTestFinished(async () => {
      await page.context().close()
      await evil.close()
      await shop.close()
    })
    const board = `${shop.server.url}/cache`
    const attack = `(async () => {
      const board = ${JSON.stringify(board)}
      const body = '{"everything":true}'
      const tried = []
      const attempt = async (name, run) => tried.push([name, await run().then((what) => what, () => 'refused')])
      const text = (response) => response.text()
      await attempt('read', () => fetch(board + '/api/entries', { credentials: 'include' }).then(text))
      await attempt('blind', () => fetch(board + '/api/purge', { method: 'POST', mode: 'no-cors', body }).then(text))
      await attempt('json', () => fetch(board + '/api/purge', {
        method: 'POST', body, headers: { 'Content-Type': 'application/json', 'X-Tagcache': '1' } }).then(text))
      await attempt('beacon', async () => (navigator.sendBeacon(board + '/api/purge', body), ''))
      await attempt('script', () => new Promise((resolve, reject) => {
        const script = document.createElement('script')
        Object.assign(script, { src: board + '/api/about', onload: () => resolve('loaded'), onerror: reject })
        document.body.append(script)
      }))
      await attempt('stream', () => new Promise((resolve, reject) => {
        const stream = new EventSource(board + '/api/live', { withCredentials: true })
        stream.onmessage = stream.onopen = () => resolve('opened')
        stream.onerror = () => (stream.close(), reject())
      }))
      await attempt('form', () => new Promise((resolve) => {
        const frame = document.createElement('iframe')
        frame.name = 'frame'
        document.body.append(frame)
        const form = document.createElement('form')
        Object.assign(form, { method: 'post', action: board + '/api/purge', target: 'frame', enctype: 'text/plain' })
        const field = document.createElement('input')
        Object.assign(field, { name: '{"everything":true,"x":"', value: '"}' })
        form.append(field)
        document.body.append(form)
        frame.onload = () => resolve('')
        form.submit()
      }))
      const shown = document.createElement('iframe')
      shown.src = board + '/'
      document.body.append(shown)
      await new Promise((resolve) => { shown.onload = resolve })
      return tried
    })()`
    expect(Object.fromEntries((await page.evaluate(attack)) as [string, string][])).toEqual({
      read: 'refused',
      blind: 'refused',
      json: 'refused',
      beacon: '',
      script: 'refused',
      stream: 'refused',
      form: '',
    })
    const framed = page.frames().filter((frame) => frame !== page.mainFrame())
    for (const frame of framed) expect(await frame.locator('.tiles, nav').count()).toBe(0)
    expect(shop.cache.getByRequest('GET /a')).toBeDefined()
    expect(shop.cache.stats().invalidations).toBe(0)
  })
})
