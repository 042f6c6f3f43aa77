import { readFileSync } from 'node:fs'
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import {
  decode,
  encode,
  encodedBytes,
  MXP_MAX_PAYLOAD_BYTES,
  MXP_TYPES,
  type MxpMessage,
  MxpError,
  type MxpType,
  requiresResponse,
} from '../../src/mxp/index.ts'

interface Vector {
  readonly name: string
  readonly type: number
  readonly typeName: MxpType
  readonly flags: number
  readonly messageId: string
  readonly traceId: string
  readonly payloadUtf8: string
  readonly hex: string
}

interface Verdict {
  readonly name: string
  readonly ok: boolean
  readonly error?: string
  readonly display?: string
  readonly payloadUtf8?: string
  readonly hex: string
}

const read = (file: string): unknown => JSON.parse(readFileSync(new URL(file, import.meta.url), 'utf8'))
const VECTORS = read('mxp-vectors.json') as Vector[]
const VERDICTS = read('mxp-bad-vectors.json') as Verdict[]

const toBytes = (hex: string): Uint8Array => Uint8Array.from(Buffer.from(hex, 'hex'))
const toHex = (bytes: Uint8Array): string => Buffer.from(bytes).toString('hex')
const toText = (bytes: Uint8Array): string => new TextDecoder().decode(bytes)

function messageOf({ typeName, flags, messageId, traceId, payloadUtf8 }: Vector): MxpMessage {
  const payload = new TextEncoder().encode(payloadUtf8)
  return { type: typeName, flags, messageId: BigInt(messageId), traceId: BigInt(traceId), payload }
}

/** What `decode` says of bytes, with the words of the genuine decoder. */
function verdictOn(bytes: Uint8Array): { error: string; display: string } | MxpMessage {
  try {
    return decode(bytes)
  } catch (error) {
    if (!(error instanceof MxpError)) throw error
    return { error: error.verdict, display: error.message }
  }
}

describe('the codec', () => {
  it.each(VECTORS)('encodes $name as the genuine one does', (vector) => {
    expect(toHex(encode(messageOf(vector)))).toBe(vector.hex)
  })

  it.each(VECTORS)('decodes $name', (vector) => {
    const { payload, ...header } = decode(toBytes(vector.hex))
    const { payload: expected, ...rest } = messageOf(vector)
    expect(header).toEqual(rest)
    expect(toHex(payload)).toBe(toHex(expected))
    expect(MXP_TYPES[header.type]).toBe(vector.type)
  })

  it.each(VERDICTS.filter(({ ok }) => !ok))(
    'refuses $name with the verdict and the words of the genuine one',
    ({ hex, error, display }) => {
      expect(verdictOn(toBytes(hex))).toEqual({ error, display })
    },
  )

  it.each(VERDICTS.filter(({ ok }) => ok))('takes $name', ({ hex, payloadUtf8 }) => {
    const message = decode(toBytes(hex))
    expect(toText(message.payload)).toBe(payloadUtf8)
    expect(encodedBytes(message)).toBe(hex.length / 2 - 2)
  })

  it('decodes bytes in the middle of a larger buffer', () => {
    const [vector] = VECTORS as [Vector]
    const bytes = toBytes(`aabbcc${vector.hex}ddee`)
    const inside = bytes.subarray(3, bytes.length - 2)
    expect(toText(decode(inside).payload)).toBe(vector.payloadUtf8)
  })

  it('takes a payload of 16 MiB; one byte more encodes and does not decode', () => {
    const header = { type: 'Event', flags: 0, messageId: 1n, traceId: 2n } as const
    const largest = encode({ ...header, payload: new Uint8Array(MXP_MAX_PAYLOAD_BYTES) })
    expect(decode(largest).payload).toHaveLength(MXP_MAX_PAYLOAD_BYTES)
    const larger = encode({ ...header, payload: new Uint8Array(MXP_MAX_PAYLOAD_BYTES + 1) })
    expect(verdictOn(larger)).toMatchObject({ error: 'PayloadTooLarge' })
  })

  it('encodes nothing that no decoder would take', () => {
    const message: MxpMessage = {
      type: 'Event',
      flags: 0,
      messageId: 1n,
      traceId: 2n,
      payload: new Uint8Array(),
    }
    expect(() => encode({ ...message, flags: 16 })).toThrow(RangeError)
    expect(() => encode({ ...message, messageId: -1n })).toThrow(RangeError)
    expect(() => encode({ ...message, traceId: 2n ** 64n })).toThrow(RangeError)
    expect(() => encode({ ...message, type: 'constructor' as MxpType })).toThrow(RangeError)
  })

  it('knows which messages ask for a response', () => {
    const types = Object.keys(MXP_TYPES) as MxpType[]
    expect(types.filter(requiresResponse)).toEqual(['AgentRegister', 'AgentDiscover', 'Call'])
  })
})

const messages = fc.record({
  type: fc.constantFrom(...(Object.keys(MXP_TYPES) as MxpType[])),
  flags: fc.integer({ min: 0, max: 15 }),
  messageId: fc.bigInt({ min: 0n, max: 2n ** 64n - 1n }),
  traceId: fc.bigInt({ min: 0n, max: 2n ** 64n - 1n }),
  payload: fc.uint8Array({ maxLength: 2_000 }),
})

describe('for all messages', () => {
  it('what is encoded decodes to the same', () => {
    fc.assert(
      fc.property(messages, (message) => {
        const { payload, ...header } = decode(encode(message))
        const { payload: expected, ...rest } = message
        expect(header).toEqual(rest)
        expect(toHex(payload)).toBe(toHex(expected))
      }),
    )
  })

  it('any byte changed is noticed', () => {
    fc.assert(
      fc.property(messages, fc.nat(), fc.integer({ min: 1, max: 255 }), (message, at, change) => {
        const bytes = encode(message)
        const index = at % bytes.length
        bytes[index] = (bytes[index] ?? 0) ^ change
        expect(() => decode(bytes)).toThrow(MxpError)
      }),
    )
  })
})

describe('for all bytes', () => {
  const [{ hex }] = VECTORS as [Vector]

  it('decode throws nothing but its own error', () => {
    const anything = fc.oneof(
      fc.uint8Array({ maxLength: 200 }),
      // Past the checks of the header.
      fc.tuple(fc.nat(), fc.uint8Array({ maxLength: 60 })).map(([at, noise]) => {
        const bytes = toBytes(hex)
        bytes.set(noise.subarray(0, bytes.length - (at % bytes.length)), at % bytes.length)
        return bytes
      }),
    )
    fc.assert(
      fc.property(anything, (bytes) => void verdictOn(bytes)),
      { numRuns: 1_000 },
    )
  })
})
