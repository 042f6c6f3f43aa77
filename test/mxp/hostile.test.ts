import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { encode, MXP_FLAGS, MXP_TYPES, type MxpMessage, type MxpType } from '../../src/mxp/index.ts'
import { connectAgent } from '../support/agent.ts'
import { connectMxp, type MxpSocket } from '../support/mxp-agent.ts'
import { freshId, MxpUdp } from '../support/mxp-udp.ts'
import { startWatched } from '../support/watched.ts'

const TYPES = Object.keys(MXP_TYPES) as MxpType[]
const ANSWERS: readonly MxpType[] = ['Response', 'Ack', 'Error']

/** Names that some door knows, and values that are right for some of them. */
const FIELDS = (
  'id name capabilities address metadata agent_id endpoint capability offset to payload messageType correlationId ttlMs receipt durability echo ' +
  'seq ifNone asLeader traceparent stream error reason requeue delayMs progress status statusReason metrics where limit cursor namespace session ' +
  'window producer groups profiles concurrency keep __proto__ constructor'
).split(' ')
const values = fc.oneof(
  fc.jsonValue({ maxDepth: 3 }),
  fc.constantFrom<unknown>('m1', 'w1', 's1', 'nlp', 'response', '127.0.0.1:1', '\ud800', 'x'.repeat(300)),
  fc.constantFrom<unknown>(
    { agent: 'w1' },
    { agent: 'm1' },
    { all: true },
    { capability: 'nlp' },
    { version: '1.0.0' },
  ),
  fc.constantFrom<unknown>([], ['nlp'], ['18446744073709551616'], 0, -1, 1.5, 1e308, true, null),
)
/** Right for every type, before what follows makes it wrong. */
const RIGHT: readonly (readonly [string, unknown])[] = Object.entries({
  id: 'm1',
  name: 'mxp-m1',
  capabilities: ['nlp'],
  address: '127.0.0.1:1',
  agent_id: 'm1',
  capability: 'nlp',
  to: { agent: 'w1' },
  payload: 1,
  stream: 's1',
})
const fields = fc.array(fc.tuple(fc.constantFrom(...FIELDS), values), { maxLength: 8 })
const objects = fc.tuple(fc.boolean(), fields).map(([isRight, more]) => {
  const entries = isRight ? [...RIGHT, ...more.slice(0, 2)] : more
  return `{${entries.map(([key, value]) => `${JSON.stringify(key)}:${JSON.stringify(value)}`).join()}}`
})
const payloads = fc.oneof(
  { weight: 8, arbitrary: objects.map((text) => new TextEncoder().encode(text)) },
  { weight: 1, arbitrary: fc.uint8Array({ maxLength: 50 }) },
  { weight: 1, arbitrary: fc.json().map((text) => new TextEncoder().encode(text)) },
)
const messages: fc.Arbitrary<MxpMessage> = fc.record({
  type: fc.constantFrom(...TYPES),
  flags: fc.oneof(fc.constant(0), fc.constantFrom(4, 8, 12), fc.integer({ min: 0, max: 15 })),
  messageId: fc.constant(0n),
  traceId: fc.bigInt({ min: 0n, max: 2n ** 64n - 1n }),
  payload: payloads,
})

describe('whatever comes', () => {
  it(
    'over UDP, a well-formed question has one answer, and nothing else any',
    { timeout: 60_000 },
    async () => {
      const { hub, faults } = await startWatched()
      await using _hub = hub
      await using udp = await MxpUdp.open(hub)
      const datagrams = fc.oneof(
        { weight: 1, arbitrary: fc.uint8Array({ maxLength: 80 }) },
        { weight: 4, arbitrary: messages },
      )
      await fc.assert(
        fc.asyncProperty(datagrams, async (one) => {
          const last = { type: 'AgentDiscover', flags: 0, messageId: freshId(), traceId: 1n } as const
          if (one instanceof Uint8Array) {
            udp.raw(one)
          } else {
            const asked = { ...one, messageId: freshId() }
            udp.send(asked)
            if (!ANSWERS.includes(asked.type)) {
              const answer = await udp.next()
              expect(ANSWERS).toContain(answer.type)
              expect(answer.traceId).toBe(asked.traceId)
              if (answer.type !== 'Ack') expect(answer.messageId).toBe(asked.messageId)
            }
          }
          // Nothing came before it.
          udp.send({ ...last, payload: new TextEncoder().encode('{"capability":"nlp"}') })
          expect(await udp.next()).toMatchObject({ type: 'Response', messageId: last.messageId })
        }),
        { numRuns: 400 },
      )
      expect(faults).toEqual([])
    },
  )

  it(
    'at the gateway, the hub goes on, and only what is no message ends a connection',
    { timeout: 60_000 },
    async () => {
      const { hub, faults } = await startWatched()
      await using _hub = hub
      await using worker = await connectAgent(hub, { id: 'w1', window: 10_000 })
      let agent: MxpSocket = await connectMxp(hub, { id: 'm1', window: 10_000 })
      const pushed: bigint[] = []
      let open = true
      await fc.assert(
        fc.asyncProperty(messages, fc.nat(), fc.boolean(), async (one, pick, answers) => {
          if (!open) {
            agent = await connectMxp(hub, { id: 'm1', window: 10_000 })
            open = true
          }
          // Something to answer, and to stream to.
          worker.send({ type: 'send', ref: pick, to: { agent: 'm1' }, messageType: 'query', payload: pick })
          for (const { type, messageId } of agent.waiting.splice(0))
            if (type === 'Call' || type === 'Event') pushed.push(messageId)
          const messageId = (answers && pushed[pick % Math.max(1, pushed.length)]) || freshId()
          agent.raw(encode({ ...one, messageId }))
          const beat = agent.send('AgentHeartbeat', { agent_id: 'm1' })
          const closed = agent.closed.then(({ code }) => code)
          const ended = await Promise.race([closed, agent.answerTo(beat).catch(() => closed)])
          if (typeof ended === 'number') {
            // It may have said that it leaves.
            expect([ended, one.type, one.flags & MXP_FLAGS.FINAL]).toEqual([
              1000,
              'AgentHeartbeat',
              MXP_FLAGS.FINAL,
            ])
            open = false
          } else {
            expect(ended.body.success).toBe(true)
          }
        }),
        { numRuns: 600 },
      )
      await agent.cut()
      await worker.roundTrip()
      expect(faults).toEqual([])
    },
  )

  it('at the gateway, bytes that are no message end the connection and nothing else', async () => {
    const { hub, faults } = await startWatched()
    await using _hub = hub
    await using neighbour = await connectMxp(hub, { id: 'm2' })
    await fc.assert(
      fc.asyncProperty(fc.uint8Array({ maxLength: 100 }), async (bytes) => {
        await using agent = await connectMxp(hub)
        agent.raw(bytes)
        expect(await agent.closed).toMatchObject({ code: 4400 })
      }),
      { numRuns: 30 },
    )
    await neighbour.roundTrip('m2')
    expect(faults).toEqual([])
  })
})
