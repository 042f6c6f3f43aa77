import { setImmediate as turn } from 'node:timers/promises'
import { expect, test } from 'vitest'
import { Doorway } from '../../src/hub/doorway.ts'
import { Hub } from '../../src/hub/hub.ts'
import { createLog } from '../../src/observability/log.ts'
import { parseSettings } from '../../src/parse-settings.ts'
import { type Core, createMemoryCore } from '../../src/server.ts'
import { CORE_LIMITS, join, NS } from '../support/core.ts'
import { Deafness } from '../support/deafness.ts'

/** A core whose next look at the registry's events takes until it is let go. */
class SlowLook {
  #hold: (() => Promise<void>) | null = null

  wrap = (core: Core): Core => ({
    ...core,
    registry: new Proxy(core.registry, {
      get: (target, name) => {
        const method = Reflect.get(target, name) as (...args: unknown[]) => unknown
        if (name !== 'since') return method.bind(target)
        return async (...args: unknown[]) => {
          const found = await method.apply(target, args)
          const hold = this.#hold
          this.#hold = null
          await hold?.()
          return found
        }
      },
    }),
  })

  /** @returns when it has looked, and how to let it go on */
  next(): { looked: Promise<void>; letGo: () => void } {
    let letGo = (): void => undefined
    const looked = new Promise<void>((resolve) => {
      this.#hold = () => {
        resolve()
        return new Promise((goOn) => {
          letGo = goOn
        })
      }
    })
    return { looked, letGo: () => letGo() }
  }
}

test('a door shows who registered elsewhere before it was asked, also while an older look at the store is under way', async () => {
  const slow = new SlowLook()
  const core = createMemoryCore({ limits: CORE_LIMITS })
  const hub = new Hub({
    core: slow.wrap(new Deafness().wrap(core)),
    settings: parseSettings({}),
    log: createLog('silent'),
  })
  await hub.start()
  const doorway = new Doorway(hub, 'http', NS, 15_000)
  await doorway.registry()
  const { looked, letGo } = slow.next()
  const older = doorway.registry()
  await looked
  await join(core, 'newcomer', { hub: 'hub-2' })
  const newer = doorway.registry()
  await turn()
  letGo()
  expect((await newer).get('newcomer')).toBeDefined()
  await older
  await hub.close()
  await core.close()
})
