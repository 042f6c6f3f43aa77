import fc from 'fast-check'
import { expect, test } from 'vitest'
import * as z from 'zod/mini'
import { ackSchema, sendSchema, streamChunkSchema } from '../../protocol/commands.ts'
import { readAck, readChunk, readSend } from '../../src/hub/hot-frames.ts'

const odd = fc.oneof(
  fc.string(),
  fc.string({ minLength: 250, maxLength: 300 }),
  fc.integer(),
  fc.double(),
  fc.constant(null),
  fc.constant(undefined),
  fc.boolean(),
  fc.array(fc.string()),
  fc.object(),
)
const mostly = <Value>(usual: fc.Arbitrary<Value>) =>
  fc.oneof({ weight: 8, arbitrary: usual }, { weight: 1, arbitrary: odd })

/** JSON drops undefined: absent. */
const rarely = fc.oneof({ weight: 16, arbitrary: fc.constant(undefined) }, { weight: 1, arbitrary: odd })

const sends = fc.record(
  {
    type: fc.constant('send'),
    ref: mostly(fc.oneof(fc.integer(), fc.string())),
    seq: mostly(fc.integer({ min: 0, max: 99 })),
    to: mostly(
      fc.oneof(
        fc.record({ agent: mostly(fc.string({ minLength: 1 })), name: rarely }, { requiredKeys: ['agent'] }),
        fc.record(
          { capability: mostly(fc.constantFrom('nlp', 'a', 'text-to-speech', 'Nlp', '')), mode: rarely },
          { requiredKeys: ['capability'] },
        ),
      ),
    ),
    messageType: mostly(fc.constantFrom('query', 'a.b-c_d', 'x')),
    payload: odd,
    correlationId: mostly(fc.string()),
    ttlMs: mostly(fc.integer({ min: 1 })),
    durability: rarely,
    receipt: rarely,
    echo: rarely,
    ifNone: rarely,
    asLeader: rarely,
    traceparent: rarely,
    more: odd,
  },
  { requiredKeys: ['type', 'ref', 'to', 'messageType', 'payload'] },
)

const asWire = (frame: object): Record<string, unknown> =>
  JSON.parse(JSON.stringify(frame)) as Record<string, unknown>

test('a send that passes the quick check passes the schema, with the same values', () => {
  let passed = 0
  fc.assert(
    fc.property(sends, (frame) => {
      const wire = asWire(frame)
      const quick = readSend(wire)
      if (!quick) return
      passed++
      const slow = z.safeParse(sendSchema, wire)
      expect(slow.success).toBe(true)
      expect(quick).toMatchObject(slow.data ?? {})
    }),
    { numRuns: 3_000 },
  )
  expect(passed).toBeGreaterThan(100)
})

test('a plain send, one to a work queue and one with seq, correlation id and ttl take the quick way', () => {
  const plain = { type: 'send', ref: 1, to: { agent: 'a2' }, messageType: 'query', payload: {} }
  expect(readSend(plain)).toBe(plain)
  expect(readSend({ ...plain, to: { capability: 'nlp' } })).not.toBeNull()
  expect(readSend({ ...plain, seq: 3, correlationId: 'c', ttlMs: 5 })).not.toBeNull()
})

test('an ack that passes the quick check passes the schema', () => {
  fc.assert(
    fc.property(
      fc.record({ type: fc.constant('ack'), ids: mostly(fc.array(mostly(fc.string()))) }),
      (frame) => {
        const wire = asWire(frame)
        if (readAck(wire)) expect(z.safeParse(ackSchema, wire).success).toBe(true)
      },
    ),
  )
  expect(readAck({ type: 'ack', ids: ['a', 'b'] })).not.toBeNull()
  expect(readAck({ type: 'ack', ids: Array.from({ length: 1_001 }, () => 'a') })).toBeNull()
})

test('a chunk that passes the quick check passes the schema', () => {
  const frames = fc.record(
    {
      type: fc.constant('stream.chunk'),
      stream: mostly(fc.constantFrom('s1', 'a.b:c-d_e', '', 'x'.repeat(65))),
      seq: mostly(fc.integer({ min: -1, max: 99 })),
      payload: odd,
      more: odd,
    },
    { requiredKeys: ['type', 'stream', 'seq'] },
  )
  let passed = 0
  fc.assert(
    fc.property(frames, (frame) => {
      const wire = asWire(frame)
      if (!readChunk(wire)) return
      passed++
      expect(z.safeParse(streamChunkSchema, wire).success).toBe(true)
    }),
  )
  expect(passed).toBeGreaterThan(10)
  const plain = { type: 'stream.chunk', stream: 's1', seq: 0, payload: null }
  expect(readChunk(plain)).toBe(plain)
})
