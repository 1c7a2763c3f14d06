import { accessSync, constants } from 'node:fs'
import { delimiter, join } from 'node:path'
import { type Browser, type BrowserContextOptions, chromium, type Page } from 'playwright-core'

const NAMES = ['chromium', 'chromium-browser', 'google-chrome', 'google-chrome-stable']

/** The path of a Chromium on this machine; undefined where there is none. */
export function findChromium(): string | undefined {
  const folders = (process.env.PATH ?? '').split(delimiter)
  return folders.flatMap((folder) => NAMES.map((name) => join(folder, name))).find(isExecutable)
}

/** Starts it. */
export function launch(executablePath: string): Promise<Browser> {
  return chromium.launch({ executablePath, args: ['--no-sandbox', '--disable-gpu'] })
}

/** A page that is watched: what goes wrong in it, and whom it asks beside this machine. */
export interface WatchedPage {
  readonly page: Page
  readonly faults: string[]
  /** What it consists of, without the answers of the admin routes. */
  readonly loaded: Loaded
}

/** What a browser has loaded, in bytes. */
export interface Loaded {
  /** As it came over the connection, with the headers of the answers. */
  transferred: number
  /** Files that are ours, unpacked. */
  own: number
  /** Those of the library for charts. */
  charts: number
}

/** Opens a page in a context of its own. Whatever it asks of another machine is refused, and is a fault. */
export async function open(browser: Browser, url: string, options: BrowserContextOptions = {}): Promise<WatchedPage> {
  const context = await browser.newContext({
    viewport: { width: 1180, height: 860 },
    reducedMotion: 'reduce',
    ...options,
  })
  const page = await context.newPage()
  const faults: string[] = []
  await context.route('**/*', (route) => {
    const { hostname } = new URL(route.request().url())
    if (hostname === '127.0.0.1') return route.continue()
    faults.push(`asks ${route.request().url()}`)
    return route.abort()
  })
  page.on('console', (message) => {
    if (message.type() === 'error' || message.type() === 'warning') faults.push(`console: ${message.text()}`)
  })
  page.on('pageerror', (error) => faults.push(`error: ${error.message}`))
  page.on('dialog', (dialog) => {
    faults.push(`dialog: ${dialog.message()}`)
    void dialog.dismiss()
  })
  const loaded = await weigh(page)
  await page.goto(url)
  return { page, faults, loaded }
}

async function weigh(page: Page): Promise<Loaded> {
  const loaded = { transferred: 0, own: 0, charts: 0 }
  const paths = new Map<string, string>()
  const session = await page.context().newCDPSession(page)
  session.on('Network.requestWillBeSent', ({ requestId, request }) => {
    const { pathname } = new URL(request.url)
    if (!pathname.includes('/api/')) paths.set(requestId, pathname)
  })
  session.on('Network.dataReceived', ({ requestId, dataLength }) => {
    const path = paths.get(requestId)
    if (path !== undefined) loaded[path.includes('uPlot') ? 'charts' : 'own'] += dataLength
  })
  session.on('Network.loadingFinished', ({ requestId, encodedDataLength }) => {
    if (paths.has(requestId)) loaded.transferred += encodedDataLength
  })
  await session.send('Network.enable')
  return loaded
}

function isExecutable(file: string): boolean {
  try {
    accessSync(file, constants.X_OK)
    return true
  } catch {
    return false
  }
}
