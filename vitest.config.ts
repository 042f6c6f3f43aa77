import { defineConfig } from 'vitest/config'

export default defineConfig({
  test: {
    environment: 'node',
    include: ['test/**/*.test.ts'],
    globalSetup: ['test/support/dist.ts'],
    // One process a file: a test that leaks a socket, a timer or a redis-server cannot disturb the next one.
    pool: 'forks',
    // Most files wait for sockets and redis-server rather than compute, so two cores carry three of them.
    maxWorkers: 3,
    testTimeout: 15_000,
    hookTimeout: 30_000,
    teardownTimeout: 10_000,
  },
})
