import type { SendResult } from '../../protocol/replies.ts'
import type { HubServer } from '../../src/server.ts'
import type { AgentOptions, TestAgent } from './agent.ts'
import { join, send } from './talk.ts'

/** Alice, who numbers what she sends. */
export const joinSender = (hub: HubServer, options: AgentOptions = {}): Promise<TestAgent> =>
  join(hub, 'alice', { producer: 'p1', ...options })

/** Sends `to` the numbers from `first` to `last`, each with itself as its `seq`. */
export const sendSeries = (from: TestAgent, to: string, first: number, last: number): Promise<SendResult[]> =>
  Promise.all(
    Array.from({ length: last - first + 1 }, (_, i) => send(from, to, first + i, { seq: first + i })),
  )
