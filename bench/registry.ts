import type { Job, RegistryResult } from './jobs.ts'
import { mark, percentiles, sleep } from './measure.ts'
import { connectPeers, Peer, type Receiver } from './peer.ts'

const CAPABILITIES = 100
const DISCOVERIES = 2000
/** Not measured: code that is not compiled yet, and texts of agents that are made once. */
const WARM_UP = 4000
const REGISTRATIONS = 500

const ignore = (): void => {}

const quiet: Receiver = {
  message: ignore,
  ok: ignore,
  error: (_peer, _ref, text) => {
    throw new Error(text)
  },
}

/** Connections that do nothing, counted by what the server's memory grew from the hundredth on. */
export async function idle({ url, connections }: Job & { kind: 'idle' }): Promise<number> {
  // The first ones also pay for code that is compiled once.
  await connectPeers(url, 0, 100, quiet)
  await sleep(500)
  await mark('before', { collectGarbage: true })
  await connectPeers(url, 100, 100 + connections, quiet)
  await sleep(1000)
  await mark('after', { collectGarbage: true })
  return connections
}

const described = (index: number): Readonly<Record<string, unknown>> => ({
  capabilities: ['bench', `skill-${index % CAPABILITIES}`, `half-${index % 2}`],
  version: `1.${index % 10}.0`,
  groups: [`group-${index % 20}`],
  metadata: { team: `team-${index % 50}`, region: `region-${index % 5}` },
})

async function register(url: string, index: number): Promise<{ readonly peer: Peer; readonly ms: number }> {
  const peer = new Peer(url, index, quiet)
  await peer.open()
  const started = performance.now()
  return { peer, ms: (await peer.hello(described(index))) - started }
}

/** Registers everybody; each goes again at once, and stays registered as online for the server's grace period. */
async function registerAll(url: string, count: number): Promise<number> {
  const started = performance.now()
  let next = 0
  const worker = async (): Promise<void> => {
    while (next < count) {
      const { peer } = await register(url, next++)
      peer.terminate()
    }
  }
  await Promise.all(Array.from({ length: 32 }, worker))
  return count / ((performance.now() - started) / 1000)
}

/** What is asked in turn: by capability (one in a hundred has it), by name, by two capabilities and metadata. */
function where(index: number): unknown {
  const skill = `skill-${(index * 7) % CAPABILITIES}`
  if (index % 3 === 0) return { capabilities: { all: [skill] } }
  if (index % 3 === 1) return { name: `agent-${(index * 13) % 1000}` }
  return {
    capabilities: { all: ['bench', skill] },
    metadata: { team: `team-${((index * 7) % CAPABILITIES) % 50}` },
  }
}

async function discoverInTurn(url: string, index: number): Promise<number[]> {
  let answered: (now: number) => void = ignore
  const peer = new Peer(url, index, { ...quiet, ok: (_peer, _ref, now) => answered(now) })
  await peer.open()
  await peer.hello()
  const samples: number[] = []
  for (let round = 0; round < WARM_UP + DISCOVERIES; round++) {
    const frame = JSON.stringify({ type: 'discover', ref: round + 1, where: where(round), limit: 20 })
    const answer = new Promise<number>((resolve) => (answered = resolve))
    const started = performance.now()
    peer.send(frame)
    peer.flush()
    samples.push((await answer) - started)
  }
  return samples.slice(WARM_UP)
}

/** How fast agents register and find each other in a namespace of `registered` agents. */
export async function registry({ url, registered }: Job & { kind: 'registry' }): Promise<RegistryResult> {
  const registrationsPerSecond = await registerAll(url, registered)
  await sleep(500)
  const registrations: number[] = []
  for (let index = registered; index < registered + REGISTRATIONS; index++) {
    const { peer, ms } = await register(url, index)
    registrations.push(ms)
    peer.terminate()
  }
  const discoveries = await discoverInTurn(url, registered + REGISTRATIONS)
  return {
    registered,
    registrationsPerSecond,
    register: percentiles(registrations),
    discover: percentiles(discoveries),
  }
}
