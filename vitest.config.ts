import { defineConfig } from 'vitest/config'

export default defineConfig({
  test: {
    include: ['test/**/*.test.ts'],
    testTimeout: 20_000,
    // A machine that others load as well may be late once; what fails twice is at fault.
    retry: process.env.CI ? 1 : 0,
  },
})
