import { execFileSync } from 'node:child_process'
import { existsSync } from 'node:fs'
import { join } from 'node:path'

/** Installs what is compared with, where it is not there yet. */
export function installPeers(folder: string): void {
  if (existsSync(join(folder, 'node_modules', '.package-lock.json'))) return
  console.error('Installing what the bench compares with, into bench/node_modules …')
  const args = ['ci', '--prefix', folder, '--ignore-scripts', '--no-audit', '--no-fund', '--loglevel=error']
  execFileSync('npm', args, { stdio: ['ignore', 'ignore', 'inherit'], shell: process.platform === 'win32' })
}
