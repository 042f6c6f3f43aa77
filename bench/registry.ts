import type { Job, Percentiles, RegisterResult } from './jobs.ts'
import { mark, percentiles, sleep } from './measure.ts'
import { connectPeers, Peer, type Receiver } from './peer.ts'

const CAPABILITIES = 100
/** The first ones included, whose code is not compiled yet. */
const DISCOVERIES = 10_000
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

async function comeAs(url: string, index: number): Promise<{ readonly peer: Peer; readonly ms: number }> {
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
      const { peer } = await comeAs(url, next++)
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

/** How fast agents register where in the end `registered` are, and a few more. */
export async function register({ url, registered }: Job & { kind: 'register' }): Promise<RegisterResult> {
  const registrationsPerSecond = await registerAll(url, registered)
  await sleep(500)
  const samples: number[] = []
  for (let index = registered; index < registered + REGISTRATIONS; index++) {
    const { peer, ms } = await comeAs(url, index)
    samples.push(ms)
    peer.terminate()
  }
  return { registered, registrationsPerSecond, register: percentiles(samples) }
}

/** How fast one finds others among `registered` agents, by a process that did not register them all. */
export async function discover({ url, registered }: Job & { kind: 'discover' }): Promise<Percentiles> {
  let answered: (now: number) => void = ignore
  const peer = new Peer(url, registered + REGISTRATIONS, {
    ...quiet,
    ok: (_peer, _ref, now) => answered(now),
  })
  await peer.open()
  await peer.hello()
  const samples: number[] = []
  for (let round = 0; round < DISCOVERIES; round++) {
    const frame = JSON.stringify({ type: 'discover', ref: round + 1, where: where(round), limit: 20 })
    const answer = new Promise<number>((resolve) => (answered = resolve))
    const started = performance.now()
    peer.send(frame)
    peer.flush()
    samples.push((await answer) - started)
  }
  return percentiles(samples)
}
