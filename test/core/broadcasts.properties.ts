import * as fc from 'fast-check'
import { expect, test } from 'vitest'
import type { Core } from '../../src/core/core.ts'
import { frame, join, sendOf, type CoreFactory, type Joined } from '../support/core.ts'
import { alike, checkRuns, same } from '../support/properties.ts'

const LOG_MAX = 4
const RECEIVERS = ['bob', 'carol'] as const

interface ModelAgent {
  /** Numbers of the log settled, from 1 on. */
  readonly settled: Set<number>
  /** Ids in the inbox. */
  readonly inbox: string[]
}

const agent = fc.constantFrom(...RECEIVERS)
// Taken modulo what the log has, and one more.
const number = fc.nat(1000)
const step = fc.oneof(
  {
    weight: 4,
    arbitrary: fc.record({
      kind: fc.constant('send' as const),
      of: fc.constantFrom('all', 'group'),
      echo: fc.boolean(),
    }),
  },
  { weight: 2, arbitrary: fc.record({ kind: fc.constant('join' as const), agent }) },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant('unregister' as const), agent }) },
  {
    weight: 3,
    arbitrary: fc.record({
      kind: fc.constant('settle' as const),
      agent,
      upTo: number,
      beyond: fc.array(number, { maxLength: 3 }),
    }),
  },
  {
    weight: 3,
    arbitrary: fc.record({ kind: fc.constant('reject' as const), agent, number, requeue: fc.boolean() }),
  },
  { weight: 2, arbitrary: fc.record({ kind: fc.constant('open' as const), agent }) },
)
type Step = typeof step extends fc.Arbitrary<infer Value> ? Value : never

/** The lowest number that is not settled. */
function firstOpen(settled: ReadonlySet<number>): number {
  let next = 1
  while (settled.has(next)) next += 1
  return next
}

const range = (from: number, to: number): number[] =>
  Array.from({ length: Math.max(0, to - from + 1) }, (_, i) => from + i)

async function broadcastsRun(core: Core, namespace: string, steps: readonly Step[]): Promise<void> {
  const { sender } = await join(core, 'alice', { namespace, fields: { groups: ['eu'] } })
  const agents = new Map<string, ModelAgent>()
  const sessions = new Map<string, Joined>()
  const dead: { agentId: string; reason: string; messageId?: string | null; text?: string }[] = []
  let head = 0
  const cut = (): number => Math.max(0, head - LOG_MAX)
  const lose = (agentId: string, { settled }: ModelAgent, to: number, reason: string): void => {
    const from = firstOpen(settled)
    if (from <= to) dead.push({ agentId, reason, messageId: null, text: JSON.stringify({ from, to }) })
    for (const lost of range(from, to)) settled.add(lost)
  }
  const open = async (agentId: string): Promise<void> => {
    const cursor = await core.broadcasts.open(namespace, agentId)
    same(cursor.head, head)
    const model = agents.get(agentId)
    if (model === undefined) {
      same(cursor.upTo, head)
      return
    }
    lose(agentId, model, cut(), 'broadcast_log_cut')
    const settled = range(1, head).filter((n) => n <= cursor.upTo || cursor.beyond.includes(n))
    same(
      settled,
      [...model.settled].toSorted((a, b) => a - b),
    )
  }
  const pick = (any: number): number => 1 + (any % (head + 1))
  for (const action of steps) {
    switch (action.kind) {
      case 'send': {
        head += 1
        const { of, echo } = action
        const to = { kind: 'members', of, value: of === 'group' ? 'eu' : '', echo } as const
        const recipients = agents.size + (echo ? 1 : 0)
        const [outcome] = await core.sends.store(namespace, [sendOf(sender, to, `b${head}`)])
        same(outcome, { outcome: 'broadcast', number: head, recipients })
        break
      }
      case 'join': {
        const joined = await join(core, action.agent, {
          namespace,
          proved: true,
          fields: { groups: ['eu'] },
        })
        same(joined.resumed, agents.has(action.agent))
        sessions.set(action.agent, joined)
        if (!joined.resumed) agents.set(action.agent, { settled: new Set(range(1, head)), inbox: [] })
        break
      }
      case 'unregister': {
        const model = agents.get(action.agent)
        const session = sessions.get(action.agent)
        if (model === undefined || session === undefined) break
        const request = { agentId: action.agent, fence: session.fence, graceMs: 0, marks: null }
        await core.registry.leave(namespace, { ...request, departure: 'unregister' })
        for (const id of model.inbox)
          dead.push({ agentId: action.agent, reason: 'unregistered', messageId: id })
        const open = range(1, head).filter((n) => !model.settled.has(n))
        const [from] = open
        // Of what was cut off nobody knows how much was open.
        if (from !== undefined)
          lose(
            action.agent,
            model,
            from <= cut() ? Math.max(cut(), open.at(-1) ?? 0) : (open.at(-1) ?? 0),
            'unregistered',
          )
        agents.delete(action.agent)
        break
      }
      case 'settle': {
        const upTo = pick(action.upTo) - 1
        const beyond = action.beyond.map(pick).filter((n) => n <= head && n > upTo)
        await core.broadcasts.settle(namespace, [{ agentId: action.agent, upTo, beyond }])
        const settled = agents.get(action.agent)?.settled
        for (const n of [...range(1, upTo), ...beyond]) settled?.add(n)
        break
      }
      case 'reject': {
        const { agent: agentId, requeue } = action
        const wanted = pick(action.number)
        const rejection = { agentId, number: wanted, requeue, delayMs: 0, reason: 'no' }
        const outcome = await core.broadcasts.reject(namespace, rejection)
        const model = agents.get(agentId)
        const there = wanted <= head && wanted > cut()
        if (model === undefined || !there || model.settled.has(wanted)) {
          same(outcome, { outcome: 'gone' })
          break
        }
        model.settled.add(wanted)
        if (requeue) {
          model.inbox.push(`b${wanted}`)
          same(outcome, { outcome: 'requeued', number: model.inbox.length, rejections: 1 })
        } else {
          dead.push({ agentId, reason: 'no', messageId: `b${wanted}` })
          same(outcome, { outcome: 'dead' })
        }
        break
      }
      case 'open':
        await open(action.agent)
        break
    }
  }
  for (const agentId of RECEIVERS) {
    await open(agentId)
    const { entries } = await core.inboxes.read(namespace, agentId, 'inbox', 0, 1000)
    same(
      entries.map(({ text }) => text),
      (agents.get(agentId)?.inbox ?? []).map((id) => frame(id)),
    )
  }
  const { entries } = await core.broadcasts.read(namespace, 0, 1000)
  same(
    entries.map(({ text }) => text),
    range(cut() + 1, head).map((n) => frame(`b${n}`)),
  )
  alike(await core.deadLetters.list(namespace, null, 1000), dead)
}

/** `Broadcasts` and the entries that `Sends` adds, against a list and sets. */
export function broadcastsProperties({ openCore }: CoreFactory, numRuns: number): void {
  test('an agent is owed each broadcast since it registered until it settled it, the log was cut or it went', async () => {
    expect.hasAssertions()
    const core = await openCore({ broadcastMax: LOG_MAX })
    await checkRuns(step, numRuns, (namespace, steps) => broadcastsRun(core, namespace, steps))
  })
}
