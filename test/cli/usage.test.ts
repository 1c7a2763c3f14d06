import { readFileSync } from 'node:fs'
import { describe, expect, it } from 'vitest'
import { optionsOf } from '../../src/cli/command.ts'
import { COMMANDS } from '../../src/cli/commands.ts'
import { bash, root, run } from './support.ts'

const NAMES = COMMANDS.map(({ name }) => name)

describe('the help', () => {
  it('names every command, and is given for the asking', async () => {
    const { code, stdout, stderr } = await run(['--help'])
    expect([code, stderr]).toEqual([0, ''])
    for (const name of NAMES) expect(stdout).toMatch(new RegExp(`^  ${name}\\b`, 'm'))
    expect((await run(['help'])).stdout).toBe(stdout)
  })

  it.each(NAMES)('of %s has its options and examples', async (name) => {
    const { code, stdout } = await run([name, '--help'])
    expect(code).toBe(0)
    const command = COMMANDS.find((one) => one.name === name)!
    for (const option of Object.keys(optionsOf(command))) expect(stdout).toContain(`--${option}`)
    for (const [line] of command.examples) expect(stdout).toContain(line)
    for (const line of stdout.split('\n'))
      if (!line.startsWith('  tagcache')) expect(line.length).toBeLessThanOrEqual(100)
    expect((await run(['help', name])).stdout).toBe(stdout)
  })

  it.each(COMMANDS.flatMap(({ name, examples }) => examples.map(([line]) => [name, line] as const)))(
    'of %s has examples that are understood: %s',
    async (_, line) => {
      const script = line
        .replaceAll('generate-tags', 'echo a')
        .replace(/^source <\((.*)\)$/, '$1')
        .replace(/ > ~.*$/, '')
      const { code, stderr } = await bash(
        `jq() { cat; }; ${script.replace(/https?:\/\/\S+|redis:\/\/\S+/g, (url) => (url.startsWith('redis') ? 'redis://127.0.0.1:9' : 'http://127.0.0.1:9/cache'))}; exit "\${PIPESTATUS[0]}"`,
        {
          env: { TAGCACHE_URL: 'http://127.0.0.1:9/cache' },
        },
      )
      // Nobody is there, and some need a terminal; no line is one that cannot be.
      if (code === 2) expect(stderr).toMatch(/Nobody can be asked here/)
      else expect([0, 3]).toContain(code)
    },
  )
})

it('tells its version', async () => {
  const { version } = JSON.parse(readFileSync(`${root}/package.json`, 'utf8'))
  expect(await run(['--version'])).toEqual({ code: 0, stdout: `${version}\n`, stderr: '' })
})

describe('a command line that cannot be', () => {
  const url = ['--url', 'http://127.0.0.1:9/cache']
  it.each([
    [[], 'Say what to do'],
    [['stat'], 'There is no command stat'],
    [['--json'], 'The command comes first'],
    [['stats'], 'Say of which cache'],
    [['stats', '--nonsense'], "Unknown option '--nonsense'"],
    [['stats', 'more'], 'takes nothing, and no more'],
    [['stats', ...url, '--redis', 'redis://127.0.0.1:9'], 'one of --url and --redis'],
    [['stats', ...url, '--namespace', 'a'], '--namespace goes with --redis'],
    [['stats', ...url, '--timeout', '0'], '--timeout takes seconds'],
    [['stats', '--url', 'localhost:3000'], 'takes an http or https URL'],
    [['stats', '--url', 'http://user:secret@127.0.0.1:9'], 'takes no password'],
    [['stats', '--redis', '127.0.0.1:9'], 'takes a redis or rediss URL'],
    [['stats', '--redis', 'redis+sentinel://:secret@127.0.0.1:9'], 'takes a redis or rediss URL, or one of Sentinels'],
    [['stats', '--redis', 'redis://:secret@127.0.0.1:9,127.0.0.1:x'], 'takes a redis or rediss URL'],
    [['entries', ...url, '--tag', 'a', '--route', 'b'], 'Give one of'],
    [['entries', ...url, '--limit', 'some'], '--limit takes a positive whole number'],
    [['tags', ...url, '--kind', 'colour'], '--kind is one of tag, route, uri'],
    [['inspect', ...url], 'takes <key|url>'],
    [['explain', ...url, 'products'], 'is no path and no http URL'],
    [['explain', ...url, '/', '-H', 'nonsense'], 'is no field'],
    [['purge', ...url], 'Say what to purge'],
    [['top', ...url, '--interval', '0'], '--interval takes seconds'],
    [['completion', 'cmd'], 'There is completion for bash, zsh, fish'],
  ])('ends with 2, and says why: %j', async (args, why) => {
    const { code, stdout, stderr } = await run(args)
    expect([code, stdout]).toEqual([2, ''])
    expect(stderr).toContain(why)
    expect(stderr).not.toContain('secret')
  })

  it('of two targets in the environment is one of them', async () => {
    const env = { TAGCACHE_URL: 'http://127.0.0.1:9', TAGCACHE_REDIS_URL: 'redis://127.0.0.1:9' }
    expect((await run(['stats'], { env })).code).toBe(2)
  })
})

describe('completion', () => {
  async function completed(...words: string[]): Promise<string[]> {
    const line = words.map((word) => `'${word}'`).join(' ')
    const { stdout, stderr } = await bash(
      `source <(tagcache completion bash); COMP_WORDS=(tagcache ${line}); COMP_CWORD=${words.length}; _tagcache; printf '%s\\n' "\${COMPREPLY[@]}"`,
    )
    expect(stderr).toBe('')
    return stdout.split('\n').filter(Boolean)
  }

  it('in bash has commands, their options, and what these may be', async () => {
    expect(await completed('')).toEqual([...NAMES, '--help', '--version'])
    expect(await completed('en')).toEqual(['entries'])
    expect(await completed('entries', '--ta')).toEqual(['--tag'])
    expect(await completed('tags', '--kind', '')).toEqual(['tag', 'route', 'uri'])
    expect(await completed('tags', '--prefix', '')).toEqual([])
    expect(await completed('completion', '')).toContain('fish')
  })

  it.each(['zsh', 'fish'])('in %s names every command and option', async (shell) => {
    const { code, stdout } = await run(['completion', shell])
    expect(code).toBe(0)
    for (const command of COMMANDS) {
      expect(stdout).toContain(command.name)
      for (const option of Object.keys(optionsOf(command)))
        expect(stdout).toContain(shell === 'fish' ? ` -l ${option}` : `--${option}[`)
    }
  })
})
