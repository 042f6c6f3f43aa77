import { describe, expect, test } from 'vitest'
import { connectObserver } from '../support/agent.ts'
import { CORES, startTestHub } from '../support/hubs.ts'
import { join, pushed, read, send, sendFrame, sendRefused } from '../support/talk.ts'

describe.each(CORES)('a send that is against a rule, on %s', (core) => {
  const WRONG_TARGETS: readonly [what: string, to: unknown][] = [
    ['two keys', { agent: 'bob', name: 'bob-name' }],
    ['a key and all', { group: 'eu', all: true }],
    ['no key', {}],
    ['nulls only', { agent: null, name: null }],
    ['an unknown key only', { role: 'boss' }],
    ['mode without capability', { group: 'eu', mode: 'all' }],
    ['an unknown mode', { capability: 'nlp', mode: 'some' }],
    ['all: false', { all: false }],
    ['leader: 1', { leader: 1 }],
    ['an empty id', { agent: '' }],
    ['an id of 257 characters', { agent: 'x'.repeat(257) }],
    ['a number', { agent: 7 }],
    ['text', 'bob'],
    ['nothing', undefined],
  ]

  test('without exactly one target is a bad_frame, and nothing is sent', async () => {
    await using hub = await startTestHub(core)
    await using alice = await join(hub, 'alice')
    await using bob = await join(hub, 'bob', { groups: ['eu'] })
    for (const [what, to] of WRONG_TARGETS) {
      const error = await alice.refusal({ type: 'send', to, messageType: 'query', payload: 1 })
      expect(error, what).toMatchObject({ code: 'bad_frame', retryable: false })
      expect(error.message).toMatch(/\bto\b/)
    }
    expect(await pushed(alice, bob)).toEqual([])
  })

  test('with ifNone fail to an existing name or agent is stored like any other', async () => {
    await using hub = await startTestHub(core)
    await using alice = await join(hub, 'alice')
    await using bob = await join(hub, 'bob')
    await send(alice, 'bob', 1, { ifNone: 'fail' })
    expect(await read(bob, 1)).toEqual([1])
  })

  test.each([
    ['with a broadcast', { all: true }, {}],
    ['with a transient message', { agent: 'bob' }, { durability: 'transient' }],
  ])('with receipt %s is a bad_frame, and nothing is sent', async (_, to, more) => {
    await using hub = await startTestHub(core)
    await using alice = await join(hub, 'alice')
    await using bob = await join(hub, 'bob')
    const error = await alice.refusal(sendFrame(to, 1, { receipt: true, ...more }))
    expect(error.code).toBe('bad_frame')
    expect(error.message).toContain('receipt')
    expect(await pushed(alice, bob)).toEqual([])
  })

  test('with a field of a wrong type or out of its bounds is a bad_frame that names the field', async () => {
    await using hub = await startTestHub(core)
    await using alice = await join(hub, 'alice')
    const wrong: readonly (readonly [field: string, value: unknown])[] = [
      ['messageType', 'Query'],
      ['messageType', ''],
      ['messageType', 'x'.repeat(65)],
      ['messageType', undefined],
      ['correlationId', 'x'.repeat(257)],
      ['correlationId', 7],
      ['traceparent', 'x'.repeat(257)],
      ['durability', 'forever'],
      ['ttlMs', 0],
      ['ttlMs', -1],
      ['ttlMs', 1.5],
      ['ttlMs', '60'],
      ['ttlMs', 31_536_000_001],
      ['seq', 0],
      ['seq', 1.5],
      ['asLeader', 'yes'],
      ['echo', 'yes'],
      ['receipt', 1],
    ]
    for (const [field, value] of wrong) {
      const error = await alice.refusal(sendFrame('alice', 1, { [field]: value }))
      expect(error, `${field} ${String(value)}`).toMatchObject({ code: 'bad_frame', retryable: false })
      expect(error.message).toContain(field)
    }
    expect(await pushed(alice, alice)).toEqual([])
  })

  test('message types of the protocol and custom ones pass', async () => {
    await using hub = await startTestHub(core)
    await using alice = await join(hub, 'alice')
    const types = [
      'query',
      'notification',
      'task_delegation',
      'task_result',
      'graph_sync',
      'x',
      'my.own-type_2',
    ]
    for (const messageType of [...types, 'z'.repeat(64)]) {
      await send(alice, 'alice', 1, { messageType })
      expect((await alice.next('message')).messageType).toBe(messageType)
    }
  })

  test('with a payload over the limit is payload_too_large; bytes of its JSON text count', async () => {
    await using hub = await startTestHub(core, { maxMessageBytes: 16_384 })
    await using alice = await join(hub, 'alice')
    const { maxPayloadBytes } = alice.welcome.limits
    expect(maxPayloadBytes).toBe(16_384 - 4_096)
    // Two quotes and three bytes a character.
    const fits = '漢'.repeat((maxPayloadBytes - 3) / 3) + 'x'
    expect(Buffer.byteLength(JSON.stringify(fits))).toBe(maxPayloadBytes)
    await send(alice, 'alice', fits)
    expect((await alice.next('message')).payload).toBe(fits)
    const error = await alice.refusal(sendFrame('alice', `${fits}x`))
    expect(error).toMatchObject({ code: 'payload_too_large', retryable: false })
    expect(error.message).toContain(String(maxPayloadBytes))
    expect(await pushed(alice, alice)).toEqual([])
  })

  test('with a payload nested deeper than 128 levels is a bad_frame', async () => {
    await using hub = await startTestHub(core)
    await using alice = await join(hub, 'alice')
    const nested = (levels: number): unknown => (levels === 0 ? 0 : [nested(levels - 1)])
    await send(alice, 'alice', nested(128))
    expect((await alice.next('message')).payload).toEqual(nested(128))
    expect(await sendRefused(alice, 'alice', nested(129))).toBe('bad_frame')
  })

  test('of an observer is forbidden', async () => {
    await using hub = await startTestHub(core)
    await using bob = await join(hub, 'bob')
    await using observer = await connectObserver(hub)
    expect(await sendRefused(observer, 'bob', 1)).toBe('forbidden')
    expect(await pushed(bob, bob)).toEqual([])
  })

  test('is answered in the order of the requests, refused ones in their place', async () => {
    await using hub = await startTestHub(core)
    await using alice = await join(hub, 'alice', { producer: 'p1' })
    const refs: unknown[] = []
    const frames = ['alice', 'nobody', 'alice', 'nobody', 'alice'].map((to, i) =>
      sendFrame(to, i, { ref: `s${i}`, seq: i + 1 }),
    )
    alice.raw(frames.map((frame) => JSON.stringify(frame)).join('\n'))
    for (let i = 0; i < frames.length; i++) {
      const reply = await alice.nextWhere((frame) => 'ref' in frame)
      refs.push('ref' in reply ? reply.ref : null)
    }
    expect(refs).toEqual(['s0', 's1', 's2', 's3', 's4'])
  })
})
