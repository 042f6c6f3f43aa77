import { describe, expect, it } from 'vitest'
import { openSocket } from '../support/agent.ts'
import { startTestHub } from '../support/hubs.ts'

const NLP = { name: 'tester', capabilities: ['nlp'] }

const numbered = (count: number, prefix = 'c'): string[] =>
  Array.from({ length: count }, (_, i) => `${prefix}${i + 10}`)
const keyed = (count: number): Record<string, string> =>
  Object.fromEntries(numbered(count).map((key) => [key, 'v']))
/** Metadata of exactly `bytes` bytes of JSON: `{"k":"…"}`. */
const metadataOf = (bytes: number): Record<string, string> => ({ k: 'x'.repeat(bytes - 8) })

describe('a value against a rule is refused with the code of its rule, the one at the limit is taken', () => {
  interface Rule {
    readonly field: string
    readonly good: readonly unknown[]
    readonly bad: readonly unknown[]
    readonly code: string
    /** Of the wrong JSON type. */
    readonly wrong: readonly unknown[]
  }

  const AGENT_RULES: readonly Rule[] = [
    {
      field: 'name',
      good: ['abc', 'A-Z_0-9', 'x'.repeat(64)],
      bad: ['', 'ab', 'x'.repeat(65), 'a b', 'a.b', 'naïve', 'abc\n', '日本語', null, undefined],
      code: 'invalid_name',
      wrong: [7, true, ['abc'], {}],
    },
    {
      field: 'capabilities',
      good: [['ab'], ['a-0'], ['x'.repeat(32)], numbered(20)],
      bad: [
        [],
        ['a'],
        ['x'.repeat(33)],
        ['NLP'],
        ['n_l'],
        ['nlp', ''],
        ['n l'],
        ['nlp\n'],
        numbered(21),
        null,
        undefined,
      ],
      code: 'invalid_capability',
      wrong: ['nlp', {}, [1], [null], [['nlp']]],
    },
    {
      field: 'id',
      good: ['a', 'A.z_0:9-', 'x'.repeat(128), '__proto__', 'constructor'],
      bad: ['', 'x'.repeat(129), 'a b', 'a/b', 'a{b}', 'é', 'a\n'],
      code: 'invalid_agent',
      wrong: [7, ['a1'], {}],
    },
    ...['groups', 'profiles'].map((field): Rule => ({
      field,
      good: [[], ['x'], ['x'.repeat(64)], numbered(20), ['über alles ✓ "{}"', '__proto__']],
      bad: [[''], ['x'.repeat(65)], numbered(21)],
      code: 'invalid_agent',
      wrong: ['eu', {}, [1], [null]],
    })),
    {
      field: 'metadata',
      good: [{}, keyed(64), metadataOf(16_384), { '': '' }, { constructor: 'x', toString: 'y' }],
      bad: [keyed(65), metadataOf(16_385), { k: 'é'.repeat(8_192) }],
      code: 'invalid_agent',
      wrong: ['x', [], { k: 1 }, { k: null }, { k: {} }],
    },
    {
      field: 'version',
      good: ['0.0.0', '1.2.0', '10.20.30-alpha.1+meta', '1.0.0-x-y-z.--'],
      bad: [
        '1',
        '1.2',
        'v1.2.0',
        '1.2.0.0',
        '01.2.0',
        'latest',
        '^1.2.0',
        ' 1.2.0',
        '1.2.0\n',
        `1.2.0-${'x'.repeat(256)}`,
      ],
      code: 'invalid_agent',
      wrong: [1, ['1.2.0'], {}],
    },
    {
      field: 'concurrency',
      good: [1, 1_024],
      bad: [0, -1, 1_025],
      code: 'invalid_agent',
      wrong: ['4', 1.5, [], true],
    },
    {
      field: 'address',
      good: ['', 'x'.repeat(256)],
      bad: ['x'.repeat(257)],
      code: 'invalid_agent',
      wrong: [9_000, {}],
    },
    { field: 'leaderEligible', good: [true, false], bad: [], code: '', wrong: ['true', 1, []] },
    { field: 'ephemeral', good: [true, false], bad: [], code: '', wrong: ['true', 0, {}] },
  ]

  it.each(AGENT_RULES)('agent.$field', async ({ field, good, bad, code, wrong }) => {
    await using hub = await startTestHub('memory')
    await using socket = await openSocket(hub)
    for (const value of bad) {
      const error = await socket.refusal({ type: 'hello', protocol: 1, agent: { ...NLP, [field]: value } })
      expect(error, JSON.stringify(value)).toMatchObject({ code, retryable: false })
      expect(error.message.length).toBeGreaterThan(20)
    }
    for (const value of wrong) {
      const error = await socket.refusal({ type: 'hello', protocol: 1, agent: { ...NLP, [field]: value } })
      expect(error, JSON.stringify(value)).toMatchObject({ code: 'bad_frame' })
      expect(error.message).toContain(field)
    }
    for (const [i, value] of good.entries()) {
      await using one = await openSocket(hub)
      const { agent } = await one.hello({ agent: { ...NLP, name: `tester-${i}`, [field]: value } })
      if (field !== 'leaderEligible' && field !== 'ephemeral')
        expect(agent).toHaveProperty([field], value === '' ? null : value)
    }
  })

  it('an error names the value and the rule', async () => {
    await using hub = await startTestHub('memory')
    await using socket = await openSocket(hub)
    const { message } = await socket.refusal({ type: 'hello', protocol: 1, agent: { ...NLP, name: 'a b' } })
    expect(message).toContain('"a b"')
    expect(message).toContain('3 to 64')
  })

  it.each([
    {
      field: 'namespace',
      good: ['a', '0-9', 'x'.repeat(64)],
      bad: ['', 'x'.repeat(65), 'A', 'a_b', 'a b', '{a}', 'a:b', 7, []],
    },
    { field: 'window', good: [1, 10_000], bad: [0, -1, 10_001, 1.5, '256', true] },
    {
      field: 'producer',
      good: ['a', 'V1StGXR8_Z5j', 'x'.repeat(64)],
      bad: ['', 'x'.repeat(65), 'a b', 7, {}],
    },
    { field: 'session', good: ['unknown', 'x'.repeat(256)], bad: ['x'.repeat(257), 7, []] },
    { field: 'token', good: ['unused'], bad: [7, {}, 'x'.repeat(16_385)] },
    { field: 'agent', good: [null, undefined], bad: ['a1', [], 7, true] },
  ])('hello.$field', async ({ field, good, bad }) => {
    await using hub = await startTestHub('memory')
    await using socket = await openSocket(hub)
    for (const value of bad) {
      const error = await socket.refusal({ type: 'hello', protocol: 1, agent: NLP, [field]: value })
      expect(error, JSON.stringify(value)).toMatchObject({ code: 'bad_frame' })
      expect(error.message).toContain(field)
    }
    for (const [i, value] of good.entries()) {
      await using one = await openSocket(hub)
      await one.hello({ agent: { ...NLP, name: `tester-${i}` }, [field]: value })
    }
  })
})
