/** Makes the pictures of docs/dashboard.md: `npm run screenshots`. */
import { statSync } from 'node:fs'
import { setTimeout as sleep } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import type { BrowserContextOptions } from 'playwright-core'
import { findChromium, launch, open } from './browser.ts'
import { openShop } from './shop.ts'

const WARM_UP = Number(process.env.WARM_UP ?? 60) * 1000
const folder = fileURLToPath(new URL('../../docs/images/', import.meta.url))

const executable = findChromium()
if (!executable) throw new Error('There is no Chromium on the path.')
const shop = await openShop({ authorize: () => ({ name: 'ann' }) })
const stop = shop.visit(120)
const purges = setInterval(() => {
  const names = ['nightly import', 'ann', 'deploy']
  shop.cache.invalidateTags(`product:${Math.floor(Math.random() * 40)}`, { by: names[Math.floor(Math.random() * 3)]! })
}, 9000)
await sleep(WARM_UP)
const browser = await launch(executable)

const DESK = { viewport: { width: 1180, height: 900 } }
const PHONE = { viewport: { width: 390, height: 844 }, deviceScaleFactor: 2, isMobile: true, hasTouch: true }
const product = shop.cache.keyFromRequest('GET /products/:id', {
  params: { id: 0 },
  host: `127.0.0.1:${shop.server.port}`,
})
const shots: [name: string, hash: string, options: BrowserContextOptions][] = [
  ['light', '#overview', { ...DESK, colorScheme: 'light' }],
  ['dark', '#overview', { ...DESK, colorScheme: 'dark' }],
  ['routes', '#routes', { ...DESK, viewport: { width: 1180, height: 440 }, colorScheme: 'light' }],
  ['tags', '#tags', { ...DESK, viewport: { width: 1180, height: 560 }, colorScheme: 'dark' }],
  ['entry', `#entry?key=${encodeURIComponent(product)}`, { ...DESK, colorScheme: 'light' }],
  [
    'explain',
    '#explain?url=%2Fproducts%2F0&other=%2Fproducts%2F0%3Futm_source%3Dmail',
    { ...DESK, viewport: { width: 1180, height: 1010 }, colorScheme: 'light' },
  ],
  ['phone', '#overview', { ...PHONE, colorScheme: 'light' }],
]
for (const [name, hash, options] of shots) {
  const { page, faults } = await open(browser, `${shop.server.url}/cache/${hash}`, options)
  await sleep(2500)
  if (name === 'explain') await page.getByRole('button', { name: 'Explain' }).click()
  await sleep(500)
  const path = `${folder}dashboard-${name}.png`
  await page.screenshot({ path })
  console.log(`${path}: ${Math.round(statSync(path).size / 1024)} kB`, ...faults)
  await page.context().close()
}
clearInterval(purges)
stop()
await browser.close()
await shop.close()
