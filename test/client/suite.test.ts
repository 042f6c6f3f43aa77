import { afterEach, beforeEach, describe, it, vi } from 'vitest'
import * as library from '../../client/node.ts'
import { runCase, SUITE } from '../client-suite/index.ts'
import { startWorld } from '../support/world.ts'

// Reconnecting waits at random; these tests want to see it, not to wait for it.
beforeEach(() => void vi.spyOn(Math, 'random').mockReturnValue(0))
afterEach(() => void vi.restoreAllMocks())

describe('the client suite, in Node', () => {
  for (const { title, hub } of SUITE) {
    it(title, async () => {
      await using world = await startWorld(hub)
      await runCase(title, library, world)
    })
  }
})
