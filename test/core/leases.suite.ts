import { describe, expect, test } from 'vitest'
import type { CoreFactory } from '../support/core.ts'

/** What the port `Leases` says. */
export function leasesSuite({ openCore, openPair }: CoreFactory): void {
  describe('leases', () => {
    test('a lease that runs is not expired, and renewing it tells so', async () => {
      const core = await openCore()
      await core.leases.renew('hub-1', ['one'])
      expect(await core.leases.renew('hub-1', ['one'])).toEqual({ lapsed: false })
      expect(await core.leases.expired()).toEqual([])
    })

    test('a lease that ran out is listed with the namespaces told last, until it is buried', async () => {
      const [one, two] = await openPair({ hubLeaseMs: 20 })
      await one.leases.renew('hub-1', ['gone'])
      await one.leases.renew('hub-1', ['one', 'two'])
      await one.leases.renew('hub-2', [])
      const listed = async (): Promise<unknown> => {
        const hubs = await two.leases.expired()
        return hubs
          .map(({ hub, namespaces }) => ({ hub, namespaces: namespaces.toSorted() }))
          .toSorted((a, b) => (a.hub < b.hub ? -1 : 1))
      }
      const both = [
        { hub: 'hub-1', namespaces: ['one', 'two'] },
        { hub: 'hub-2', namespaces: [] },
      ]
      await expect.poll(listed, { interval: 5 }).toEqual(both)
      expect(await listed()).toEqual(both)
      expect(await one.leases.isExpired('hub-1')).toBe(true)
      await two.leases.bury('hub-1')
      expect(await listed()).toEqual([both[1]])
      expect(await one.leases.isExpired('hub-1')).toBe(false)
    })

    test('a hub may be in many namespaces', async () => {
      const [one, two] = await openPair({ hubLeaseMs: 100 })
      const namespaces = Array.from({ length: 10_000 }, (_, i) => `n${i}`)
      await one.leases.renew('hub-1', namespaces)
      await expect.poll(() => two.leases.expired(), { interval: 5 }).toHaveLength(1)
      const [lease] = await two.leases.expired()
      expect(lease?.namespaces.toSorted()).toEqual(namespaces.toSorted())
    })

    test('a hub that renews too late is told, and lives again', async () => {
      const core = await openCore({ hubLeaseMs: 200 })
      await core.leases.renew('hub-1', ['one'])
      await expect.poll(() => core.leases.expired(), { interval: 5 }).toHaveLength(1)
      expect(await core.leases.renew('hub-1', ['one'])).toEqual({ lapsed: true })
      expect(await core.leases.expired()).toEqual([])
      expect(await core.leases.renew('hub-1', ['one'])).toEqual({ lapsed: false })
    })

    test('a hub that was forgotten by others is told that it lapsed', async () => {
      const [one, two] = await openPair()
      await one.leases.renew('hub-1', ['one'])
      await two.leases.forget('hub-1')
      expect(await one.leases.renew('hub-1', ['one'])).toEqual({ lapsed: true })
    })

    test('a hub that came back is not buried', async () => {
      const [one, two] = await openPair({ hubLeaseMs: 300 })
      await one.leases.renew('hub-1', ['one'])
      await expect.poll(() => two.leases.expired(), { interval: 5 }).toHaveLength(1)
      await one.leases.renew('hub-1', ['one'])
      expect(await two.leases.isExpired('hub-1')).toBe(false)
      await two.leases.bury('hub-1')
      expect(await one.leases.renew('hub-1', ['one'])).toEqual({ lapsed: false })
    })

    test('renewing keeps a lease from running out', async () => {
      const core = await openCore({ hubLeaseMs: 300 })
      await core.leases.renew('hub-1', [])
      const { leases } = core
      // hub-2 is there to show that the time has passed.
      await leases.renew('hub-2', [])
      await expect
        .poll(
          async () => {
            await leases.renew('hub-1', [])
            return (await leases.expired()).map(({ hub }) => hub)
          },
          { interval: 20 },
        )
        .toEqual(['hub-2'])
    })
  })
}
