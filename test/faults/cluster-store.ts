import { type ClusterNode, startCluster } from '../support/redis-cluster.ts'
import { REPLICATED, Replicated, type Pair } from './replicated.ts'
import { networkFaults, type Store } from './store.ts'
import { Ways } from './ways.ts'

const PRIMARIES = 3
/** All keys of the run's namespace have its slot. */
const KEY = '{default}'

/** Three primaries with a replica each; each hub goes to all of them by proxies of its own. */
export async function clusterStore(): Promise<Store> {
  const cluster = await startCluster(PRIMARIES, true, {
    ...REPLICATED,
    'cluster-allow-replica-migration': 'no',
  })
  const { primaries, replicas } = cluster
  const owner = await cluster.ownerOf(KEY)
  const pairs = primaries.map((primary, index): Pair => {
    const replica = replicas[index] as ClusterNode
    return {
      members: [primary, replica],
      replace: (_, next) => next.client.call('CLUSTER', 'FAILOVER'),
      isOurs: primary === owner,
    }
  })
  const { faults } = await Replicated.start(pairs)
  // As nodes tell of each other: an integer.
  const ways = new Ways((port) => `:${port}\r\n`)
  const nodes = [...primaries, ...replicas].map(({ port }) => port)
  return {
    name: 'cluster',
    async flagsFor(hub) {
      const ports = await ways.open(hub, nodes)
      return { '--redis-url': `redis-cluster://${ports.map((port) => `127.0.0.1:${port}`).join(',')}` }
    },
    faults: [...networkFaults('store', () => ways.all), ...faults],
    heal: () => {
      ways.heal()
      return Promise.resolve()
    },
    async [Symbol.asyncDispose]() {
      await cluster.stop()
      await ways[Symbol.asyncDispose]()
    },
  }
}
