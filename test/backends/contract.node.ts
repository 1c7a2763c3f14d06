// Run by contract.test.ts in a process of its own, with the test runner of Node itself.
import { test } from 'node:test'
import { memory } from '../../src/backends/memory.ts'
import { backendContract, cacheBackendContract } from '../../src/testing/index.ts'

backendContract({ test, name: 'memory()', create: () => memory() })
cacheBackendContract({ test, name: 'Map', create: () => new Map<string, Uint8Array>() })
