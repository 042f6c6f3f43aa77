import type { AgentRecord, RegistryEvent } from '../../src/core/registry.ts'
import type { Send, SendOutcome, Sends } from '../../src/core/sends.ts'
import type { Core } from '../../src/server.ts'
import { withEars } from '../support/ears.ts'

/** A core that is broken in one way, some of the time; `index`: of the hub it is for. */
export type Break = (core: Core, index: number) => Core

/** Every so many-th call is true. */
function everyNth(nth: number): () => boolean {
  let count = 0
  return () => ++count % nth === 0
}

const withSends = (core: Core, store: Sends['store']): Core => ({ ...core, sends: { store } })

/** The same port, with one method replaced. */
function withMethod<Port extends object, Name extends keyof Port>(
  port: Port,
  name: Name,
  method: Port[Name],
): Port {
  return new Proxy(port, {
    get(target, key) {
      if (key === name) return method
      const value: unknown = Reflect.get(target, key)
      return typeof value === 'function' ? (value.bind(target) as unknown) : value
    },
  })
}

/** Stores each send by itself, so that one of them can be dealt with otherwise. */
async function eachSend(
  batch: readonly Send[],
  store: (send: Send) => Promise<SendOutcome>,
): Promise<readonly SendOutcome[]> {
  const outcomes: SendOutcome[] = []
  for (const send of batch) outcomes.push(await store(send))
  return outcomes
}

async function storeOne(core: Core, namespace: string, send: Send): Promise<SendOutcome> {
  const [outcome] = await core.sends.store(namespace, [send])
  if (!outcome) throw new Error('no answer')
  return outcome
}

/** Says of a direct message that it is stored, and stores nothing. */
const dropsAnEntry: Break = (core) => {
  const now = everyNth(40)
  return withSends(core, (namespace, batch) =>
    eachSend(batch, async (send) => {
      const { to } = send
      if (to.kind !== 'agent' || to.lane !== 'inbox' || send.receipt || !now())
        return storeOne(core, namespace, send)
      await storeOne(core, namespace, { ...send, to: { kind: 'transient', recipients: 1 } })
      // A number that was pushed long ago: the recipient's hub has nothing to do.
      return { outcome: 'stored', agentId: to.agentId, number: 0 }
    }),
  )
}

/** Stores a direct message twice, under two ids. */
const storesTwice: Break = (core) => {
  const now = everyNth(40)
  return withSends(core, (namespace, batch) =>
    eachSend(batch, async (send) => {
      const outcome = await storeOne(core, namespace, send)
      if (outcome.outcome !== 'stored' || send.receipt || !now()) return outcome
      const text = send.text.replace(/"id":"([^"]+)"/, '"id":"$1-again"')
      await storeOne(core, namespace, { ...send, seq: null, text })
      return outcome
    }),
  )
}

/** Two messages of one sender to one agent change places. */
const reorders: Break = (core, index) => {
  const now = everyNth(5)
  return withSends(core, (namespace, batch) => {
    const swapped = [...batch]
    for (let i = 1; i < swapped.length; i++) {
      const [a, b] = [swapped[i - 1], swapped[i]]
      if (a?.to.kind !== 'agent' || b?.to.kind !== 'agent' || a.receipt || b.receipt) continue
      const alike = a.sender === b.sender && a.to.agentId === b.to.agentId && a.to.lane === b.to.lane
      // To an agent on its own hub a message goes as the hub has it: agents sit on the hubs in turn, by their numbers.
      const isAway = Number(a.to.agentId.at(-1)) % 2 !== index
      if (!alike || !isAway || !now()) continue
      swapped[i - 1] = { ...a, text: b.text }
      swapped[i] = { ...b, text: a.text }
    }
    return core.sends.store(namespace, swapped)
  })
}

/** Forgets that a receipt was asked for. */
const forgetsAReceipt: Break = (core) => {
  const now = everyNth(20)
  return withSends(core, (namespace, batch) =>
    core.sends.store(
      namespace,
      batch.map((send) => (send.receipt && now() ? { ...send, receipt: false } : send)),
    ),
  )
}

/** Takes every message that says it comes from the leader. */
const believesInLeaders: Break = (core) =>
  withSends(core, (namespace, batch) =>
    core.sends.store(
      namespace,
      batch.map((send) => ({ ...send, asLeader: null })),
    ),
  )

/** Gives work to two agents at once. */
const sharesWork: Break = (core) => {
  const now = everyNth(10)
  return {
    ...core,
    queues: withMethod(core.queues, 'claim', async (...args: Parameters<Core['queues']['claim']>) => {
      const { tasks, left } = await core.queues.claim(...args)
      const [task] = tasks
      const other = args[2].find(({ agentId }) => agentId !== task?.agentId)
      if (!task || !other || !now()) return { tasks, left }
      return { tasks: [...tasks, { ...task, agentId: other.agentId }], left }
    }),
  }
}

const withEvents = (core: Core, change: (event: RegistryEvent) => RegistryEvent): Core =>
  withEars(core, (signal, onSignal) =>
    onSignal(signal.kind === 'event' ? { ...signal, event: change(signal.event) } : signal),
  )

/** The second hub hears of a change of an agent, and not what it was. */
const losesAnEvent: Break = (core, index) => {
  if (index === 0) return core
  const now = everyNth(4)
  const before = new Map<string, AgentRecord>()
  return withEvents(core, (event) => {
    const { agent } = event
    if (!agent) return event
    const known = before.get(agent.id)
    before.set(agent.id, agent)
    return event.event === 'agent.updated' && known && now() ? { ...event, agent: known } : event
  })
}

const another = (agentId: string | null): string => (agentId === 'raw-0' ? 'raw-1' : 'raw-0')

/** Two hubs do not agree on who leads. */
const hasTwoLeaders: Break = (core, index) =>
  index === 0
    ? core
    : withEvents(core, (event) =>
        event.event === 'leader.changed' ? { ...event, agentId: another(event.agentId) } : event,
      )

/** Ways to break a core, with the rule whose violations tell of it. */
export const BREAKS = [
  ['drops an entry', 'stored', dropsAnEntry],
  ['stores a message twice', 'once', storesTwice],
  ['reorders messages', 'order', reorders],
  ['gives work to two agents', 'holder', sharesWork],
  ['has two leaders', 'leader', hasTwoLeaders],
  ['does not refuse who is no leader', 'leader', believesInLeaders],
  ['loses an event', 'watch', losesAnEvent],
  ['forgets a receipt', 'receipt', forgetsAReceipt],
] as const
