import { execFileSync } from 'node:child_process'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { finished, onTerminal, openShop, run, type Shop, written } from './support.ts'

let shop: Shop
beforeAll(async () => {
  try {
    execFileSync('script', ['--version'])
  } catch (cause) {
    throw new Error('THESE TESTS NEED A TERMINAL: there is no `script`. Install it: apt-get install bsdutils', {
      cause,
    })
  }
  shop = await openShop()
  await shop.get(`/products/${'long'.repeat(30)}`)
})
afterAll(() => shop.close())

describe('on a terminal', () => {
  it('tables fit its width, and titles are bold', async () => {
    const { stdout } = await finished(onTerminal(['entries'], shop.env, 70), '')
    const lines = stdout
      .replaceAll(/\x1b\[\d+m/g, '')
      .trimEnd()
      .split('\r\n')
    const [, head, row] = lines
    expect(head).toMatch(/^KEY +STATUS +STATE +AGE +TTL +SIZE +TAGS$/)
    expect(row).toContain('…')
    expect(row!.length).toBeLessThanOrEqual(70)
    expect(stdout).toContain('\x1b[1mKEY')
  })

  it('there is no colour where NO_COLOR is set', async () => {
    const { stdout } = await finished(onTerminal(['entries'], { ...shop.env, NO_COLOR: '1' }), '')
    expect(stdout).not.toContain('\x1b')
  })

  it('elsewhere there is no colour, and nothing is cut, unless COLUMNS says so', async () => {
    const whole = await run(['entries'], { env: shop.env })
    expect(whole.stdout).not.toContain('\x1b')
    expect(whole.stdout).toContain('long'.repeat(30))
    const cut = await run(['entries'], { env: { ...shop.env, COLUMNS: '70' } })
    const [, ...table] = cut.stdout.trimEnd().split('\n')
    for (const line of table) expect(line.length).toBeLessThanOrEqual(70)
  })

  it('top stays on one screen, and leaves it as it was when Ctrl-C is typed', async () => {
    const child = onTerminal(['top', '--interval', '0.2'], shop.env)
    const ended = finished(child)
    await written(child, /ROUTE.*ROUTE/s)
    child.stdin!.write('\x03')
    const { code, stdout } = await ended
    expect(code).toBe(0)
    expect(stdout.startsWith('\x1b[?1049h\x1b[?25l')).toBe(true)
    expect(stdout.replace(/\^C/, '').endsWith('\x1b[?25h\x1b[?1049l')).toBe(true)
  })

  it('clear asks, and purges only for a yes', async () => {
    await shop.get('/products/asked')
    for (const [answer, code, status] of [
      ['y\n', 1, 'hit'],
      ['\x03', 1, 'hit'],
      ['\x04', 1, 'hit'],
      ['yes\n', 0, 'stored'],
    ] as const) {
      const child = onTerminal(['clear'], shop.env)
      const ended = finished(child)
      await written(child, /Say yes:/)
      child.stdin!.write(answer)
      expect((await ended).code).toBe(code)
      expect(await shop.get('/products/asked')).toContain(status)
    }
  })

  it('long work says how far it is', async () => {
    const keys = Array.from({ length: 3 }, (_, at) => ['--key', `none-${at}`]).flat()
    const { stdout } = await finished(onTerminal(['purge', ...keys], shop.env), '')
    expect(stdout).toContain('2 of 3 purges made')
    for (let at = 0; at < 1200; at++)
      shop.cache.set('GET /many', { params: { at: String(at) } }, ['many'], { body: '' })
    const listed = await finished(onTerminal(['entries', '--all'], shop.env), '')
    expect(listed.stdout).toContain('500 found so far')
  })
})
