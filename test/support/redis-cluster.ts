import type { ChildProcess } from 'node:child_process'
import { mkdir, mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { Redis } from 'ioredis'
import { endRedis, freePort, launchRedis, type RedisFlags } from './redis.ts'
import { pollUntil } from './poll-until.ts'

const SLOTS = 16_384
const NODE_TIMEOUT_MS = 1_000
const FORM_TIMEOUT_MS = 20_000

/** One node of a cluster. */
export interface ClusterNode {
  readonly port: number
  /** For commands to just this node. */
  readonly client: Redis
  id(): Promise<string>
  kill(): Promise<void>
  /** Starts it again after `kill`, empty, as what the cluster has made of it. */
  restart(): Promise<void>
  pause(): void
  resume(): void
}

/** Primaries with the slots spread over them, and a replica of each. */
export interface RedisCluster {
  readonly url: string
  readonly primaries: readonly ClusterNode[]
  readonly replicas: readonly ClusterNode[]
  /** The primary that serves the slot of a key when the cluster begins. */
  ownerOf(key: string): Promise<ClusterNode>
  /** Moves the slot of a key, with all that is in it, from one primary to another, as redis-cli's reshard does. */
  moveSlot(key: string, from: ClusterNode, to: ClusterNode): Promise<void>
  stop(): Promise<void>
}

interface StartedNode extends ClusterNode {
  readonly busPort: number
  stop(): Promise<void>
}

async function startNode(directory: string, flags: RedisFlags): Promise<StartedNode> {
  const [port, busPort] = [await freePort(), await freePort()]
  const own = join(directory, String(port))
  await mkdir(own)
  const all = {
    ...flags,
    'cluster-enabled': 'yes',
    'cluster-port': busPort,
    'cluster-node-timeout': NODE_TIMEOUT_MS,
    'cluster-replica-validity-factor': 0,
    'repl-diskless-sync-delay': 0,
    'repl-ping-replica-period': 1,
  }
  let child: ChildProcess = await launchRedis(port, own, all)
  const client = new Redis(port, '127.0.0.1', { maxRetriesPerRequest: null })
  client.on('error', () => undefined)
  return {
    port,
    busPort,
    client,
    id: async () => (await client.call('CLUSTER', 'MYID')) as string,
    kill: () => endRedis(child, 'SIGKILL'),
    restart: async () => {
      child = await launchRedis(port, own, all)
    },
    pause: () => void child.kill('SIGSTOP'),
    resume: () => void child.kill('SIGCONT'),
    stop: async () => {
      client.disconnect()
      await endRedis(child, 'SIGKILL')
    },
  }
}

const until = (what: string, holds: () => Promise<boolean>): Promise<void> =>
  pollUntil(holds, FORM_TIMEOUT_MS, `the cluster does not come to this: ${what}`)

/** Starts a cluster on free ports: `count` primaries, each with a replica where `replicas`; all with these flags. */
export async function startCluster(
  count = 3,
  withReplicas = true,
  flags: RedisFlags = {},
): Promise<RedisCluster> {
  const directory = await mkdtemp(join(tmpdir(), 'meshwire-cluster-'))
  const nodes = await Promise.all(
    Array.from({ length: withReplicas ? 2 * count : count }, () => startNode(directory, flags)),
  )
  const stop = async (): Promise<void> => {
    await Promise.all(nodes.map((node) => node.stop()))
    await rm(directory, { recursive: true, force: true })
  }
  try {
    const primaries = nodes.slice(0, count)
    const replicas = nodes.slice(count)
    const [first] = primaries
    if (!first) throw new Error('a cluster needs a primary')
    for (const [index, node] of nodes.entries()) {
      await node.client.call('CLUSTER', 'SET-CONFIG-EPOCH', index + 1)
      if (node !== first) await node.client.call('CLUSTER', 'MEET', '127.0.0.1', first.port, first.busPort)
    }
    for (const [index, node] of primaries.entries()) {
      const [from, to] = [Math.ceil((index * SLOTS) / count), Math.ceil(((index + 1) * SLOTS) / count) - 1]
      await node.client.call('CLUSTER', 'ADDSLOTSRANGE', from, to)
    }
    const knows = (node: StartedNode, wanted: string): Promise<boolean> =>
      node.client.call('CLUSTER', 'INFO').then((info) => String(info).includes(wanted))
    for (const node of nodes)
      await until('all know all', () => knows(node, `cluster_known_nodes:${nodes.length}`))
    for (const [index, node] of replicas.entries()) {
      const id = await (primaries[index] as StartedNode).id()
      await until(
        'replicas follow',
        async () => (await node.client.call('CLUSTER', 'REPLICATE', id)) === 'OK',
      )
    }
    for (const node of nodes) await until('the state is ok', () => knows(node, 'cluster_state:ok'))
    for (const node of replicas)
      await until('replicas are in sync', async () =>
        (await node.client.info('replication')).includes('master_link_status:up'),
      )
    const size = async (node: StartedNode): Promise<boolean> =>
      ((await node.client.call('CLUSTER', 'SLOTS')) as unknown[][]).every(
        (range) => range.length === (withReplicas ? 4 : 3),
      )
    for (const node of nodes) await until('all know who replicates whom', () => size(node))
    return {
      url: `redis-cluster://${primaries.map(({ port }) => `127.0.0.1:${port}`).join(',')}`,
      primaries,
      replicas,
      async ownerOf(key) {
        const slot = Number(await first.client.call('CLUSTER', 'KEYSLOT', key))
        const owner = primaries[Math.floor((slot * count) / SLOTS)]
        if (!owner) throw new Error(`no node has slot ${slot}`)
        return owner
      },
      async moveSlot(key, from, to) {
        const slot = Number(await first.client.call('CLUSTER', 'KEYSLOT', key))
        const [fromId, toId] = [await from.id(), await to.id()]
        await to.client.call('CLUSTER', 'SETSLOT', slot, 'IMPORTING', fromId)
        await from.client.call('CLUSTER', 'SETSLOT', slot, 'MIGRATING', toId)
        for (;;) {
          const keys = (await from.client.call('CLUSTER', 'GETKEYSINSLOT', slot, 10)) as string[]
          if (keys.length === 0) break
          await from.client.call('MIGRATE', '127.0.0.1', to.port, '', 0, 5_000, 'KEYS', ...keys)
        }
        for (const { client } of [to, from, ...primaries.filter((node) => node !== to && node !== from)])
          await client.call('CLUSTER', 'SETSLOT', slot, 'NODE', toId)
      },
      stop,
    }
  } catch (error) {
    await stop()
    throw error
  }
}
