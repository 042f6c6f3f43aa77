import { describe, expect, it } from 'vitest'
import { sendSchema } from '../../protocol/commands.ts'
import { seal } from '../../client/envelope.ts'

const frame = (...args: Parameters<typeof seal>): unknown =>
  JSON.parse(`{"type":"send","ref":1,"seq":1${seal(...args).tail}`)

describe('a send as text', () => {
  it('is a frame that the protocol accepts, with what was given and nothing else', () => {
    expect(sendSchema.parse(frame({ agent: 'a2' }, { q: 1 }, {}, 1000))).toEqual({
      type: 'send',
      ref: 1,
      seq: 1,
      to: { agent: 'a2' },
      messageType: 'notification',
      payload: { q: 1 },
    })
    const options = {
      type: 'query',
      correlationId: 'c1',
      ttlMs: 5,
      durability: 'transient',
      echo: true,
      asLeader: 3,
      traceparent: '00-1',
    } as const
    const { type, ...fields } = options
    expect(sendSchema.parse(frame({ capability: 'nlp', mode: 'all' }, [1], options, 1000))).toEqual({
      type: 'send',
      ref: 1,
      seq: 1,
      to: { capability: 'nlp', mode: 'all' },
      messageType: type,
      payload: [1],
      ...fields,
    })
  })

  it('carries null for a payload that is undefined', () => {
    expect(frame({ all: true }, undefined, {}, 1000)).toMatchObject({ payload: null })
  })

  it('takes a payload of exactly the largest size in UTF-8 bytes, and refuses a byte more', () => {
    expect(seal({ all: true }, 'ü'.repeat(49), {}, 100).bytes).toBe(100)
    expect(() => seal({ all: true }, 'ü'.repeat(49) + 'x', {}, 100)).toThrow(
      expect.objectContaining({ code: 'payload_too_large', message: expect.stringContaining('101 bytes') }),
    )
  })

  it('takes 128 levels of nesting and refuses one more', () => {
    const nested = (levels: number): unknown => JSON.parse('['.repeat(levels) + ']'.repeat(levels))
    expect(() => seal({ all: true }, nested(128), {}, 10_000)).not.toThrow()
    expect(() => seal({ all: true }, nested(129), {}, 10_000)).toThrow('128 levels')
  })

  it.each([
    [{ type: 'Query' }, 'message type "Query"'],
    [{ type: 'x'.repeat(65) }, 'message type'],
    [{ ttlMs: 0 }, 'ttlMs 0'],
    [{ ttlMs: 1.5 }, 'ttlMs 1.5'],
    [{ ttlMs: 31_536_000_001 }, 'ttlMs 31536000001'],
    [{ correlationId: 'x'.repeat(257) }, 'correlationId has 257'],
    [{ traceparent: 'x'.repeat(257) }, 'traceparent has 257'],
  ])('refuses %j, naming it', (options, sentence) => {
    expect(() => seal({ all: true }, 1, options, 1000)).toThrow(
      expect.objectContaining({ code: 'bad_frame', message: expect.stringContaining(sentence) }),
    )
  })
})
