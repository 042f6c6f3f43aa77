import { type SentinelServer, startSentinels } from '../support/redis-sentinel.ts'
import type { Dice } from './dice.ts'
import { REPLICATED, Replicated } from './replicated.ts'
import { type Fault, networkFaults, type Store, wait } from './store.ts'
import { Ways } from './ways.ts'

/** At most one Sentinel fails at a time: two of three have to agree. */
function sentinelFaults(sentinels: readonly SentinelServer[]): Fault[] {
  let busy = false
  const fault = (name: string, act: (sentinel: SentinelServer, ms: number) => Promise<void>): Fault => ({
    name,
    async strike(ms: number, dice: Dice) {
      const sentinel = dice.pick(sentinels)
      if (busy) return
      busy = true
      await act(sentinel, ms)
      busy = false
    },
  })
  return [
    fault('sentinel killed', async (sentinel, ms) => {
      await sentinel.kill()
      await wait(ms)
      await sentinel.restart(null)
    }),
    fault('sentinel frozen', async (sentinel, ms) => {
      sentinel.pause()
      await wait(ms)
      sentinel.resume()
    }),
  ]
}

/** A primary and a replica that three Sentinels watch; each hub goes to all of them by proxies of its own. */
export async function sentinelStore(): Promise<Store> {
  const redis = await startSentinels(REPLICATED)
  const { primary, replica, sentinels, sentinelPorts } = redis
  // One of them is enough: two that are told would replace it twice.
  const replace = async (): Promise<unknown> => {
    for (;;) {
      const asked = sentinels.find(({ client }) => client.status === 'ready')
      if (asked) return await asked.client.call('SENTINEL', 'FAILOVER', 'mymaster')
      await wait(50)
    }
  }
  const { faults } = await Replicated.start([{ members: [primary, replica], replace, isOurs: true }])
  // As Sentinels tell the primary: a text of five digits.
  const ways = new Ways((port) => `$5\r\n${port}\r\n`)
  return {
    name: 'sentinel',
    async flagsFor(hub) {
      const ports = await ways.open(hub, [...sentinelPorts, primary.port, replica.port])
      const hosts = ports.slice(0, sentinelPorts.length).map((port) => `127.0.0.1:${port}`)
      return { '--redis-url': `redis-sentinel://${hosts.join(',')}/mymaster` }
    },
    faults: [...networkFaults('store', () => ways.all), ...faults, ...sentinelFaults(sentinels)],
    heal: () => {
      ways.heal()
      return Promise.resolve()
    },
    async [Symbol.asyncDispose]() {
      await redis.stop()
      await ways[Symbol.asyncDispose]()
    },
  }
}
