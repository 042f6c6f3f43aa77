import { afterAll, expect, vi } from 'vitest'
import { endRedisOfFile } from './redis-of-file.ts'

/** What a file may not leave behind in the process that it shares with the next one: hubs, and processes that it started. */
const LASTING: ReadonlySet<string> = new Set(['TCPServerWrap', 'ProcessWrap'])
/** How long what was ended may take to be gone. */
const GONE_MS = 5_000

const lasting = (): string[] => process.getActiveResourcesInfo().filter((name) => LASTING.has(name))

// Set up in each test file before anything of its own, so this is the last that a file does.
afterAll(async () => {
  vi.useRealTimers()
  vi.unstubAllGlobals()
  await endRedisOfFile()
  await vi.waitFor(() => expect(lasting(), 'what this file leaves open').toEqual([]), { timeout: GONE_MS })
})
