import { defineConfig } from 'vitest/config'
import { BaseSequencer, type TestSpecification } from 'vitest/node'

// They measure the memory or the processor time of their own process, so they have one for themselves.
const ALONE = [
  'test/http/api-events.test.ts',
  'test/hub/rate.test.ts',
  'test/hub/streams-memory.test.ts',
  'test/security/http.test.ts',
  'test/security/time.test.ts',
]

// The longest ones, the longest first: whoever begins with them does not wait for one of them at the end.
const LONGEST = [
  'test/faults/failover.test.ts',
  'test/faults/faults.test.ts',
  'test/hub/workers.test.ts',
  'test/examples.test.ts',
  'test/store/sentinel.test.ts',
  'test/package/entries.test.ts',
  'test/http/limits.test.ts',
  'test/store/cluster.test.ts',
  'test/store/faults.test.ts',
  'test/client/integration.test.ts',
  'test/simulation/simulation.test.ts',
]

/** Files in processes of their own, then the longest ones, then the others: a process is handed on only between files of one project. */
class LongestFirst extends BaseSequencer {
  override async sort(files: TestSpecification[]): Promise<TestSpecification[]> {
    const place = ({ project, moduleId }: TestSpecification): number => {
      if (project.name === 'alone') return -1
      const index = LONGEST.findIndex((path) => moduleId.endsWith(path))
      return index === -1 ? LONGEST.length : index
    }
    return files.toSorted((a, b) => place(a) - place(b))
  }
}

export default defineConfig({
  test: {
    environment: 'node',
    globalSetup: ['test/support/dist.ts'],
    pool: 'forks',
    setupFiles: ['test/support/each-file.ts'],
    sequence: { sequencer: LongestFirst },
    // Most files wait for sockets and redis-server rather than compute, so two cores carry three of them; with four, tests of time come near their limits.
    maxWorkers: 3,
    // Of one that hangs. Where a test promises a time, it measures it.
    testTimeout: 30_000,
    hookTimeout: 30_000,
    teardownTimeout: 10_000,
    projects: [
      { extends: true, test: { name: 'alone', include: ALONE } },
      {
        extends: true,
        // One process for file after file: to start it, and to load the hub, would take longer than many a file takes.
        test: { name: 'shared', include: ['test/**/*.test.ts'], exclude: ALONE, isolate: false },
      },
    ],
  },
})
