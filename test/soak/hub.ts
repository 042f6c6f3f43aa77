import { readdirSync } from 'node:fs'
import { startHub } from '../../src/server.ts'

/** What a hub takes, after its garbage was collected. */
export interface Usage {
  readonly heapMiB: number
  readonly rssMiB: number
  /** Timers, sockets and the like that keep the process alive or busy. */
  readonly handles: number
  /** Open file descriptors; 0 where the system does not tell. */
  readonly files: number
}

function openFiles(): number {
  try {
    return readdirSync('/proc/self/fd').length
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return 0
    throw error
  }
}

// A hub in a process of its own that says what it takes. Its settings are its argument, as JSON.
const hub = await startHub(JSON.parse(process.argv[2] ?? '{}') as object)
process.on('disconnect', () => process.exit(0))
process.on('SIGTERM', () => {
  void hub
    .drain()
    .then(() => hub.close())
    .then(() => process.exit(0))
})
process.on('message', () => {
  globalThis.gc?.()
  const { heapUsed, rss } = process.memoryUsage()
  const usage: Usage = {
    heapMiB: heapUsed / 1_048_576,
    rssMiB: rss / 1_048_576,
    handles: process.getActiveResourcesInfo().length,
    files: openFiles(),
  }
  process.send?.(usage)
})
process.send?.({ url: hub.url })
