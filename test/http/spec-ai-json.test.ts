import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { JsonSyntaxError, parseJson, writeJson } from '../../src/http/spec-ai/json-text.ts'
import { messageId } from '../../src/http/spec-ai/message-ids.ts'
import { messageText } from '../../src/hub/message-text.ts'
import { toAgentMessage } from '../../src/http/spec-ai/messages.ts'
import { toOurs, toSpecAi } from '../../src/http/spec-ai/message-types.ts'
import { decodeId } from '../../src/http/spec-ai/paths.ts'

const json = fc.json({ maxDepth: 6 })
/** Lone surrogates too, as JSON writes them. */
const wild = fc.jsonValue({ stringUnit: 'binary', noUnicodeString: false } as object)

const readsAs = (read: () => unknown): boolean => {
  try {
    read()
    return true
  } catch (error) {
    if (error instanceof SyntaxError || error instanceof JsonSyntaxError) return false
    throw error
  }
}

describe('JSON with its numbers as they are', () => {
  test('is read and written as JavaScript does, but for the numbers', () => {
    fc.assert(
      fc.property(json, fc.constantFrom(0, 1, 2), (text, indent) => {
        const spaced = JSON.stringify(JSON.parse(text), null, indent)
        const written = writeJson(parseJson(spaced))
        expect(JSON.parse(written)).toEqual(JSON.parse(text))
        expect(written).not.toMatch(/[\n\r\t]/)
        expect(writeJson(parseJson(written))).toBe(written)
      }),
    )
  })

  test('is refused where JavaScript refuses it, whatever was changed in it', () => {
    const bytes = fc.constantFrom(...Array.from('{}[]",:\\0123456789.eE+-untrflas \n\u0000ü'))
    fc.assert(
      fc.property(
        json,
        fc.array(fc.tuple(fc.nat(), bytes, fc.boolean()), { maxLength: 3 }),
        (text, changes) => {
          let changed = text
          for (const [place, byte, replaces] of changes) {
            const at = place % (changed.length + 1)
            changed = changed.slice(0, at) + byte + changed.slice(replaces ? at + 1 : at)
          }
          // What JavaScript takes and serde_json does not has tests of its own.
          fc.pre(!/\\u[dD][89a-fA-F]|[eE]/.test(changed))
          expect([changed, readsAs(() => parseJson(changed))]).toEqual([
            changed,
            readsAs(() => JSON.parse(changed)),
          ])
        },
      ),
      { numRuns: 1_000 },
    )
  })

  test.each([
    '1.0',
    '-0',
    '-0.0',
    '18446744073709551615',
    '1E5',
    '1e-7',
    '123456789012345678901234567890',
    '1e308',
  ])('keeps %s', (number) =>
    expect(writeJson(parseJson(` [ ${number} , {"a" : ${number} } ] `))).toBe(`[${number},{"a":${number}}]`),
  )

  test.each([
    ['1.7976931348623158e308', '1.7976931348623157e+308'],
    [`-${BigInt(Number.MAX_VALUE)}`, '-1.7976931348623157e+308'],
    ['1797.6931348623157e305', '1.7976931348623157e+308'],
  ])('%s, which serde_json takes for infinite, is written as %s', (number, written) =>
    expect(writeJson(parseJson(number))).toBe(written),
  )

  test('a number of millions of digits costs no time', () => {
    const began = performance.now()
    expect(() => parseJson('9'.repeat(2_000_000))).toThrow('number out of range')
    expect(performance.now() - began).toBeLessThan(1_000)
  })
})

describe('a stored message', () => {
  test('is cut out of its frame whatever is in it', () => {
    const text = fc.string({ unit: 'binary' })
    fc.assert(
      fc.property(
        wild,
        text,
        fc.option(text),
        fc.option(text),
        fc.string(),
        (payload, from, correlationId, customType, id) => {
          const stringified = JSON.stringify(payload)
          const route = {
            to: { kind: 'agent', agentId: 'm', name: null, lane: 'inbox' },
            via: 'direct',
            value: null,
          } as const
          const frame = messageText(
            'id-1',
            JSON.stringify(from),
            route,
            { messageType: 'query', correlationId },
            stringified,
            1_000,
            5,
            null,
            customType,
          )
          const message = JSON.parse(toAgentMessage(frame, id, 13)) as Record<string, unknown>
          const lone = /\p{Surrogate}/gu
          const whole = (one: string | null) => one?.replaceAll(lone, '\ufffd') ?? null
          expect(message).toMatchObject({
            message_id: 'id-1',
            source_instance: from,
            target_instance: id,
            correlation_id: whole(correlationId),
            created_at: '1970-01-01T00:00:01.000Z',
            message_type: customType === null ? 'Query' : { Custom: customType },
          })
          if (!/\\ud[89a-f]/.test(stringified)) expect(JSON.stringify(message['payload'])).toBe(stringified)
        },
      ),
    )
  })
})

test('a custom type comes back as it was', () => {
  fc.assert(
    fc.property(fc.string({ unit: 'grapheme' }), (custom) => {
      const { messageType, customType } = toOurs({ custom })
      expect(messageType).toMatch(/^[a-z0-9_.-]{1,64}$/)
      expect(JSON.parse(toSpecAi(messageType, customType, 13))).toEqual({ Custom: custom })
    }),
  )
})

test('an id comes out of a path as it went in', () => {
  fc.assert(
    fc.property(fc.string({ unit: 'grapheme' }), (id) => {
      expect(decodeId(encodeURIComponent(id))).toBe(id)
    }),
  )
})

test('message ids grow, within a millisecond, over its end, and when the clock goes back', () => {
  const ids: string[] = []
  const now = Date.now() + 1_000
  for (let i = 0; i < 10_000; i++) ids.push(messageId(now))
  ids.push(messageId(now - 500), messageId(now + 10))
  expect(ids).toEqual(ids.toSorted())
  expect(new Set(ids).size).toBe(ids.length)
})
