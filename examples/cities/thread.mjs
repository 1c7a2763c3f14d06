// A thread must start in JavaScript: tsx does not reach the first file of a thread, so it is registered here.
import { register } from 'tsx/esm/api'

register()
await import('./postgres.ts')
