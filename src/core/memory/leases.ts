import type { Leases, LiveHub } from '../leases.ts'
import type { MemorySettings } from './namespace.ts'

interface Lease {
  readonly until: number
  readonly namespaces: readonly string[]
}

export class MemoryLeases implements Leases {
  readonly #settings: MemorySettings
  readonly #leases = new Map<string, Lease>()

  constructor(settings: MemorySettings) {
    this.#settings = settings
  }

  async renew(hub: string, namespaces: readonly string[]): Promise<{ lapsed: boolean }> {
    const { limits, now } = this.#settings
    const at = now()
    const lease = this.#leases.get(hub)
    const until = limits.hubLeaseMs === 0 ? Number.POSITIVE_INFINITY : at + limits.hubLeaseMs
    this.#leases.set(hub, { until, namespaces })
    return { lapsed: lease === undefined || lease.until <= at }
  }

  async live(): Promise<readonly LiveHub[]> {
    const at = this.#settings.now()
    return [...this.#leases]
      .filter(([, { until }]) => until > at)
      .map(([hub, { until, namespaces }]) => ({ hub, leaseMs: until - at, namespaces }))
  }

  async expired(): Promise<readonly { hub: string; namespaces: readonly string[] }[]> {
    const at = this.#settings.now()
    const expired: { hub: string; namespaces: readonly string[] }[] = []
    for (const [hub, { until, namespaces }] of this.#leases) {
      if (until <= at) expired.push({ hub, namespaces })
    }
    return expired
  }

  async isExpired(hub: string): Promise<boolean> {
    const lease = this.#leases.get(hub)
    return lease !== undefined && lease.until <= this.#settings.now()
  }

  async bury(hub: string): Promise<void> {
    if (await this.isExpired(hub)) this.#leases.delete(hub)
  }

  async forget(hub: string): Promise<void> {
    this.#leases.delete(hub)
  }
}
