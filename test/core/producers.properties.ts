import * as fc from 'fast-check'
import { expect, test } from 'vitest'
import type { Core } from '../../src/core/core.ts'
import { LIMITS } from '../../protocol/limits.ts'
import type { Destination, Send } from '../../src/core/sends.ts'
import { frame, join, type CoreFactory } from '../support/core.ts'
import { checkRuns, same } from '../support/properties.ts'

const WINDOW = LIMITS.producerWindow

/** Every way a send can end, for `alice`, who writes to herself. */
const DESTINATIONS = {
  stored: { kind: 'agent', agentId: 'alice', name: null, lane: 'inbox' },
  counted: { kind: 'transient', recipients: 3 },
  refused: { kind: 'refused', code: 'payload_too_large' },
  unknown: { kind: 'agent', agentId: 'nobody', name: null, lane: 'inbox' },
  moved: { kind: 'agent', agentId: 'nobody', name: 'alice', lane: 'inbox' },
} as const satisfies Record<string, Destination>

type Way = keyof typeof DESTINATIONS

const way = fc.constantFrom<Way>('stored', 'stored', 'stored', 'counted', 'refused', 'unknown', 'moved')
const one = fc.record({
  way,
  // Relative to the next seq: mostly that one, also repeats, gaps and what fell out of the window.
  offset: fc.constantFrom(0, 0, 0, 0, 0, -1, -2, -5, 1, 2, -WINDOW, -WINDOW - 1),
})
const step = fc.oneof(
  {
    weight: 5,
    arbitrary: fc.record({
      kind: fc.constant('batch' as const),
      sends: fc.array(one, { minLength: 1, maxLength: 5 }),
    }),
  },
  {
    weight: 2,
    arbitrary: fc.record({
      kind: fc.constant('session' as const),
      producer: fc.integer({ min: 1, max: 10 }),
    }),
  },
  {
    weight: 1,
    arbitrary: fc.record({
      kind: fc.constant('burst' as const),
      count: fc.constantFrom(5, WINDOW - 2, WINDOW + 3),
    }),
  },
)
type Step = typeof step extends fc.Arbitrary<infer Value> ? Value : never

/** Every answer a producer has had, from seq 1 on: recipients or a code. */
type ModelProducer = (number | string)[]

async function producersRun(core: Core, namespace: string, steps: readonly Step[]): Promise<void> {
  // The one heard of last comes last.
  const producers = new Map<string, ModelProducer>()
  const bases = new Map<string, string>()
  const stored: string[] = []
  let sent = 0
  let producer = ''
  let ends: ModelProducer = []
  const begin = async (id: string) => {
    const joined = await join(core, 'alice', { namespace, producer: id, proved: true })
    producer = id
    ends = producers.get(id) ?? []
    if (producers.has(id)) same(joined.producerBase, bases.get(id))
    else same([...bases.values()].includes(joined.producerBase), false)
    bases.set(id, joined.producerBase)
    producers.delete(id)
    producers.set(id, ends)
    const [oldest] = producers.keys()
    if (producers.size > LIMITS.producersMax && oldest !== undefined) producers.delete(oldest)
    return joined.sender
  }
  const expected = ({ way: kind, seq }: { way: Way; seq: number }, text: string, waits: boolean): object => {
    if (seq <= ends.length) {
      const end = ends[seq - 1]
      if (seq <= ends.length - WINDOW) return { outcome: 'too_old' }
      if (typeof end === 'number') return { outcome: 'duplicate', recipients: end }
      return { outcome: 'refused', code: end, repeated: true }
    }
    if (waits) return { outcome: 'postponed' }
    if (seq > ends.length + 1) return { outcome: 'gap', expected: ends.length + 1 }
    switch (kind) {
      case 'moved':
        return { outcome: 'moved', agentId: 'alice' }
      case 'counted':
        ends.push(3)
        return { outcome: 'counted' }
      case 'refused':
        ends.push('payload_too_large')
        return { outcome: 'refused', code: 'payload_too_large', repeated: false }
      case 'unknown':
        ends.push('unknown_target')
        return { outcome: 'refused', code: 'unknown_target', repeated: false }
      case 'stored':
        ends.push(1)
        stored.push(text)
        return { outcome: 'stored', agentId: 'alice', number: stored.length }
    }
  }
  let sender = await begin('p0')
  const send = async (wanted: readonly { way: Way; seq: number }[]): Promise<void> => {
    const batch: Send[] = []
    const outcomes: object[] = []
    if (wanted.length === 0) return
    let waits = false
    for (const { way: kind, seq } of wanted) {
      const text = frame(`m${(sent += 1)}`)
      batch.push({
        sender,
        seq,
        to: DESTINATIONS[kind],
        asLeader: null,
        text,
        expiresAt: null,
        receipt: false,
      })
      const outcome = expected({ way: kind, seq }, text, waits)
      outcomes.push(outcome)
      waits ||= 'outcome' in outcome && outcome.outcome === 'moved'
    }
    same(await core.sends.store(namespace, batch), outcomes)
  }
  for (const action of steps) {
    switch (action.kind) {
      case 'session':
        sender = await begin(`p${action.producer}`)
        break
      case 'burst':
        await send(
          Array.from({ length: action.count }, (_, index) => ({
            way: 'counted',
            seq: ends.length + 1 + index,
          })),
        )
        break
      case 'batch': {
        // The n-th send of a client that believes each one before it went through.
        const first = ends.length + 1
        const wanted = action.sends.map(({ way: kind, offset }, index) => ({
          way: kind,
          seq: first + index + offset,
        }))
        await send(wanted.filter(({ seq }) => seq > 0))
        break
      }
    }
  }
  same(producers.has(producer), true)
  const { entries } = await core.inboxes.read(namespace, 'alice', 'inbox', 0, 10_000)
  same(
    entries.map(({ text }) => text),
    stored,
  )
}

/** `seq` as `Sends` has it, against a list of answers. */
export function producersProperties({ openCore }: CoreFactory, numRuns: number): void {
  test('each seq takes effect once, in order, and a repeated one is answered as the first time', async () => {
    expect.hasAssertions()
    const core = await openCore({ inboxMax: 0 })
    await checkRuns(step, numRuns, (namespace, steps) => producersRun(core, namespace, steps))
  })
}
