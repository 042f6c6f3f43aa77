import { connectAgent } from '../support/agent.ts'
import { outstanding } from './check-stored.ts'
import { GROUP, type Payload, WORK } from './participant.ts'
import type { Recorder } from './recorder.ts'

/** How long nothing may come until an inbox counts as empty. */
const QUIET_MS = 1_000

/**
 * What is stored still is pushed to whoever opens a session: opens one for each agent, and records what comes. Nothing is
 * acknowledged.
 */
export async function collectKept(url: string, agents: readonly string[], recorder: Recorder): Promise<void> {
  if (outstanding(recorder.history).length === 0) return
  await Promise.all(agents.map((agent) => collect(url, agent, recorder)))
}

async function collect(url: string, agent: string, recorder: Recorder): Promise<void> {
  const fields = { id: agent, name: agent, capabilities: [WORK], groups: [GROUP] }
  await using socket = await connectAgent(url, { ...fields, concurrency: 1_024, window: 10_000 })
  for (;;) {
    try {
      const { id, payload } = await socket.next('message', () => true, QUIET_MS)
      recorder.write({ kind: 'kept', agent, key: (payload as Payload).key, id })
    } catch {
      // Nothing came any more.
      return
    }
  }
}
