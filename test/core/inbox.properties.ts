import * as fc from 'fast-check'
import { expect, test } from 'vitest'
import type { Core } from '../../src/core/core.ts'
import type { Lane } from '../../src/core/inboxes.ts'
import { frame, join, sendOf, toAgent, type CoreFactory } from '../support/core.ts'
import { alike, checkRuns, same } from '../support/properties.ts'

const INBOX_MAX = 6
const MAX_ATTEMPTS = 3

interface ModelEntry {
  readonly number: number
  readonly id: string
  rejections: number
}

/** A lane as one would write it down: what was given a number and not settled. */
class ModelLane {
  head = 0
  entries: ModelEntry[] = []

  after(number: number, limit: number): unknown[] {
    const found = this.entries.filter((entry) => entry.number > number).slice(0, limit)
    return found.map(({ number: at, id, rejections }) => ({
      number: at,
      text: frame(id),
      expiresAt: null,
      rejections,
    }))
  }

  take(numbers: readonly number[]): ModelEntry[] {
    const taken = this.entries.filter(({ number }) => numbers.includes(number))
    this.entries = this.entries.filter(({ number }) => !numbers.includes(number))
    return taken
  }
}

const lane = fc.constantFrom<Lane>('inbox', 'inbox', 'replies')
// Taken modulo what the lane has had, and one more.
const number = fc.oneof(fc.nat(2), fc.nat(1000))
const step = fc.oneof(
  {
    weight: 4,
    arbitrary: fc.record({
      kind: fc.constant('append' as const),
      lane,
      count: fc.integer({ min: 1, max: 4 }),
    }),
  },
  {
    weight: 2,
    arbitrary: fc.record({
      kind: fc.constant('settle' as const),
      lane,
      numbers: fc.array(number, { maxLength: 5 }),
    }),
  },
  {
    weight: 3,
    arbitrary: fc.record({ kind: fc.constant('reject' as const), lane, number, requeue: fc.boolean() }),
  },
  {
    weight: 1,
    arbitrary: fc.record({
      kind: fc.constant('expire' as const),
      lane,
      numbers: fc.array(number, { maxLength: 2 }),
    }),
  },
  {
    weight: 2,
    arbitrary: fc.record({
      kind: fc.constant('read' as const),
      lane,
      after: number,
      limit: fc.integer({ min: 1, max: 4 }),
    }),
  },
)
type Step = typeof step extends fc.Arbitrary<infer Value> ? Value : never

async function inboxRun(core: Core, namespace: string, steps: readonly Step[]): Promise<void> {
  const { sender } = await join(core, 'alice', { namespace })
  const lanes = { inbox: new ModelLane(), replies: new ModelLane() }
  const dead: unknown[] = []
  let sent = 0
  for (const action of steps) {
    const model = lanes[action.lane]
    const at = { agentId: 'alice', lane: action.lane }
    const pick = (any: number): number => 1 + (any % (model.head + 1))
    switch (action.kind) {
      case 'append': {
        const ids = Array.from({ length: action.count }, () => `m${(sent += 1)}`)
        const expected = ids.map((id) => {
          if (action.lane === 'inbox' && model.entries.length >= INBOX_MAX)
            return { outcome: 'refused', code: 'inbox_full' }
          model.entries.push({ number: (model.head += 1), id, rejections: 0 })
          return { outcome: 'stored', number: model.head }
        })
        const sends = ids.map((id) => sendOf(sender, toAgent('alice', action.lane), id))
        alike(await core.sends.store(namespace, sends), expected)
        break
      }
      case 'settle':
        model.take(action.numbers.map(pick))
        await core.inboxes.settle(namespace, [{ ...at, numbers: action.numbers.map(pick) }])
        break
      case 'expire':
        for (const wanted of action.numbers.map(pick)) {
          const taken = model
            .take([wanted])
            .map(({ id, rejections }) => ({ messageId: id, reason: 'expired', attempts: rejections }))
          dead.push(...taken)
        }
        await core.inboxes.expire(namespace, { ...at, numbers: action.numbers.map(pick) })
        break
      case 'reject': {
        const { requeue } = action
        const rejection = { agentId: 'alice', number: pick(action.number), requeue, delayMs: 0, reason: null }
        const outcome = await core.inboxes.reject(namespace, action.lane, rejection)
        const entry = model.entries.find((candidate) => candidate.number === pick(action.number))
        if (entry === undefined) {
          same(outcome, { outcome: 'gone' })
          break
        }
        entry.rejections += 1
        if (requeue && entry.rejections < MAX_ATTEMPTS) {
          same(outcome, {
            outcome: 'requeued',
            number: entry.number,
            rejections: entry.rejections,
          })
          break
        }
        same(outcome, { outcome: 'dead' })
        model.take([entry.number])
        dead.push({ messageId: entry.id, reason: 'max_attempts', attempts: entry.rejections })
        break
      }
      case 'read': {
        const { entries, head } = await core.inboxes.read(
          namespace,
          'alice',
          action.lane,
          pick(action.after) - 1,
          action.limit,
        )
        same(head, model.head)
        alike(entries, model.after(pick(action.after) - 1, action.limit))
        break
      }
    }
  }
  for (const name of ['inbox', 'replies'] as const) {
    const { entries, head } = await core.inboxes.read(namespace, 'alice', name, 0, 1000)
    same(head, lanes[name].head)
    alike(entries, lanes[name].after(0, 1000))
  }
  alike(await core.deadLetters.list(namespace, null, 1000), dead)
}

/** `Inboxes` and the entries that `Sends` adds, against lists. */
export function inboxProperties({ openCore }: CoreFactory, numRuns: number): void {
  test('an inbox holds what was stored and not settled, and the dead letters what was given up', async () => {
    expect.hasAssertions()
    const core = await openCore({ inboxMax: INBOX_MAX, maxAttempts: MAX_ATTEMPTS })
    await checkRuns(step, numRuns, (namespace, steps) => inboxRun(core, namespace, steps))
  })
}
