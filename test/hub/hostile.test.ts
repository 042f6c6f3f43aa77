import { describe, expect, it } from 'vitest'
import { connectAgent, connectObserver, openSocket, type TestAgent } from '../support/agent.ts'
import { CORES, startTestHub } from '../support/hubs.ts'
import { sendFrame } from '../support/talk.ts'
import { hubToAttack } from '../support/attack.ts'

/** A `send` with its payload as raw JSON. */
const sendText = (payload: string, ref: number | string = 1): string =>
  `{"type":"send","ref":${JSON.stringify(ref)},"to":{"agent":"victim"},"messageType":"query","payload":${payload}}`
const nested = (levels: number): string => '['.repeat(levels) + ']'.repeat(levels)
const nestedObjects = (levels: number): string => `${'{"a":'.repeat(levels - 1)}{}${'}'.repeat(levels - 1)}`

describe.each(CORES)(
  'whatever an attacker sends, the hub lives and others are undisturbed: on %s',
  (core) => {
    const attacked = hubToAttack(core)

    /** The agent that hostile messages are for. */
    const connectVictim = (): Promise<TestAgent> =>
      connectAgent(attacked.hub, { id: 'victim', ephemeral: true })
    const leave = (agent: TestAgent): Promise<unknown> => agent.request({ type: 'bye' })

    it('a payload of 128 levels arrives, one of 129 is bad_frame', async () => {
      await using victim = await connectVictim()
      await using attacker = await connectAgent(attacked.hub, { ephemeral: true })
      for (const make of [nested, nestedObjects]) {
        attacker.raw(sendText(make(128), 'fits'))
        await attacker.next('ok', ({ ref }) => ref === 'fits')
        expect(JSON.stringify((await victim.next('message')).payload)).toBe(make(128))
        attacker.raw(sendText(make(129), 'deep'))
        const { error } = await attacker.next('error', ({ ref }) => ref === 'deep')
        expect(error).toMatchObject({ code: 'bad_frame' })
        expect(error.message).toContain('128')
      }
      await leave(victim)
    })

    it.each([100_000])(
      '%i levels of JSON, wherever they are, are refused like any wrong value',
      async (levels) => {
        await using attacker = await connectAgent(attacked.hub, { ephemeral: true })
        const deep = nested(levels)
        const places: readonly string[] = [
          sendText(deep),
          `{"type":"send","ref":1,"to":${deep},"messageType":"query","payload":1}`,
          `{"type":"send","ref":1,"to":{"agent":${deep}},"messageType":"query","payload":1}`,
          `{"type":"update","ref":1,"metadata":${deep}}`,
          `{"type":"update","ref":1,"metadata":{"k":${deep}}}`,
          `{"type":"discover","ref":1,"where":${deep}}`,
          `{"type":"subscribe","ref":1,"events":${deep}}`,
          `{"type":"bye","ref":1,"keep":${deep}}`,
          `{"type":${deep},"ref":1}`,
          `{"ref":1,"unknown":${deep}}`,
        ]
        for (const text of places) {
          attacker.raw(text)
          const answer = await attacker.next('error')
          expect(answer, text.slice(0, 60)).toMatchObject({ ref: 1, error: { code: 'bad_frame' } })
          expect(answer.error.message.length).toBeLessThan(1_000)
        }
        for (const text of [`{"type":"leader","ref":${deep}}`, `{"type":"ack","ids":${deep}}`]) {
          attacker.raw(text)
          expect((await attacker.next('error')).error).toMatchObject({ code: 'bad_frame' })
        }
        // Unknown fields are ignored, however deep.
        attacker.raw(`{"type":"leader","ref":2,"unknown":${deep}}`)
        await attacker.next('ok', ({ ref }) => ref === 2)
        await using greeting = await openSocket(attacked.hub)
        greeting.raw(`{"type":"hello","ref":1,"protocol":1,"agent":{"name":${deep},"capabilities":["nlp"]}}`)
        expect((await greeting.next('error')).error).toMatchObject({ code: 'bad_frame' })
        greeting.raw('['.repeat(levels))
        expect(await greeting.closed).toMatchObject({ code: 4400 })
      },
    )

    it('__proto__ and constructor in a payload pass through as the text they were', async () => {
      await using victim = await connectVictim()
      await using attacker = await connectAgent(attacked.hub, { ephemeral: true })
      const payloads = [
        '{"__proto__":{"polluted":true},"constructor":{"prototype":{"polluted":true}},"toString":null}',
        '{"a":{"__proto__":[1,{"__proto__":"deep"}]},"hasOwnProperty":1,"toJSON":"x"}',
        '[{"__proto__":null}]',
      ]
      for (const payload of payloads) {
        attacker.raw(sendText(payload))
        await attacker.next('ok')
        const message = await victim.next('message')
        expect(JSON.stringify(message.payload)).toBe(payload)
        expect(victim.texts.at(-1)).toContain(`"payload":${payload}`)
      }
      await leave(victim)
    })

    it('__proto__ elsewhere changes nothing', async () => {
      await using attacker = await connectAgent(attacked.hub, { ephemeral: true })
      const evil = '"__proto__":{"polluted":true,"type":"leader","ref":1,"keep":true}'
      attacker.raw(`{${evil}}`)
      expect((await attacker.next('error')).error).toMatchObject({ code: 'bad_frame' })
      attacker.raw(`{"type":"leader","ref":2,${evil},"constructor":{"prototype":{"polluted":true}}}`)
      await attacker.next('ok', ({ ref }) => ref === 2)
      attacker.raw(`{"type":"update","ref":3,"metadata":{"__proto__":"x"}}`)
      const answer = await attacker.nextWhere((frame) => 'ref' in frame && frame.ref === 3)
      expect(answer).toMatchObject({ type: 'error', error: { code: 'invalid_agent' } })
      attacker.raw(
        `{"type":"update","ref":4,"metadata":{"constructor":"x","toString":"y"},"metrics":{"valueOf":1}}`,
      )
      const updated = await attacker.next('ok', ({ ref }) => ref === 4)
      expect(updated.result).toMatchObject({
        agent: { metadata: { constructor: 'x', toString: 'y' }, metrics: { valueOf: 1 } },
      })
      attacker.raw(`{"type":"update","ref":5,"metrics":{"__proto__":1}}`)
      await attacker.nextWhere((frame) => 'ref' in frame && frame.ref === 5)
      for (const key of ['__proto__', 'hasOwnProperty']) {
        attacker.raw(`{"type":"discover","ref":6,"where":{"metadata":{${JSON.stringify(key)}:"x"}}}`)
        expect(await attacker.next('ok', ({ ref }) => ref === 6)).toMatchObject({ result: { agents: [] } })
      }
      attacker.raw(
        `{"type":"discover","ref":7,"where":{"__proto__":{"name":"x"},"capabilities":{"all":["constructor"]}}}`,
      )
      expect(await attacker.next('ok', ({ ref }) => ref === 7)).toMatchObject({ result: { agents: [] } })
      for (const to of [
        '{"__proto__":{"agent":"bystander"}}',
        '{"agent":"__proto__"}',
        '{"name":"constructor"}',
        '{"toString":1}',
      ]) {
        attacker.raw(`{"type":"send","ref":8,"to":${to},"messageType":"query","payload":1}`)
        const { error } = await attacker.next('error', ({ ref }) => ref === 8)
        expect(['bad_frame', 'unknown_target']).toContain(error.code)
      }
      for (const to of ['{"group":"__proto__"}', '{"capability":"constructor","mode":"all"}']) {
        attacker.raw(`{"type":"send","ref":9,"to":${to},"messageType":"query","payload":1}`)
        expect(await attacker.next('ok', ({ ref }) => ref === 9)).toMatchObject({ result: { recipients: 0 } })
      }
      await using greeting = await openSocket(attacked.hub)
      greeting.raw(
        `{"type":"hello","ref":1,"protocol":1,"agent":{"name":"evil","capabilities":["nlp"],"metadata":{"__proto__":"x"}}}`,
      )
      expect((await greeting.next('error')).error).toMatchObject({ code: 'invalid_agent' })
    })

    it('an agent may be called __proto__ and is an agent like any other', async () => {
      await using odd = await connectAgent(attacked.hub, {
        id: '__proto__',
        name: '__proto__',
        groups: ['__proto__'],
        ephemeral: true,
      })
      expect(odd.welcome.agent).toMatchObject({ id: '__proto__', name: '__proto__', groups: ['__proto__'] })
      await odd.request(sendFrame({ name: '__proto__' }, 'to itself'))
      expect(await odd.next('message')).toMatchObject({ payload: 'to itself', from: '__proto__' })
      expect(await odd.request(sendFrame({ group: '__proto__' }, 1, { echo: true }))).toMatchObject({
        recipients: 1,
      })
      await odd.next('message')
      expect(await odd.request({ type: 'discover', where: { name: '__proto__' } })).toMatchObject({
        agents: [{ id: '__proto__' }],
      })
      await leave(odd)
    })

    it('lone surrogates in a message arrive as they were sent', async () => {
      await using victim = await connectVictim()
      await using attacker = await connectAgent(attacked.hub, { ephemeral: true })
      const payload = ['\ud800', '\udfff', { '\ud800': 1 }]
      await attacker.request(
        sendFrame({ agent: 'victim' }, payload, { correlationId: '\ud800x', traceparent: '\udfff' }),
      )
      expect(await victim.next('message')).toMatchObject({
        payload,
        correlationId: '\ud800x',
        traceparent: '\udfff',
      })
      expect(await attacker.answer({ type: 'leader', ref: '\ud800' })).toMatchObject({
        type: 'ok',
        ref: '\ud800',
      })
      expect(await attacker.refusal(sendFrame({ agent: '\ud800' }, 1))).toMatchObject({
        code: 'unknown_target',
      })
      await leave(victim)
    })

    it('lone surrogates in what the store keeps of an agent are refused', async () => {
      await using attacker = await connectAgent(attacked.hub, { ephemeral: true, groups: ['\ufffd'] })
      const lone = 'x\ud800'
      const fields = [
        { groups: [lone] },
        { profiles: [lone] },
        { address: lone },
        { metadata: { k: lone } },
        { metadata: { [lone]: 'v' } },
      ]
      await using socket = await openSocket(attacked.hub)
      for (const field of fields) {
        const agent = { name: 'surrogate', capabilities: ['nlp'], ...field }
        expect(await socket.refusal({ type: 'hello', protocol: 1, agent })).toMatchObject({
          code: 'invalid_agent',
        })
      }
      expect(await attacker.refusal({ type: 'update', statusReason: lone })).toMatchObject({
        code: 'bad_frame',
      })
      attacker.send({ type: 'pong', statusReason: lone })
      expect((await attacker.next('error')).error).toMatchObject({ code: 'bad_frame' })
      // In UTF-8 it would be the replacement character, which is another group.
      expect(await attacker.refusal(sendFrame({ group: '\ud800' }, 1))).toMatchObject({ code: 'bad_frame' })
      expect(await attacker.request(sendFrame({ group: '\ufffd' }, 1, { echo: true }))).toMatchObject({
        recipients: 1,
      })
      // A whole pair is a character like any other.
      expect(await attacker.request({ type: 'update', metadata: { k: '\ud83d\ude00' } })).toMatchObject({
        agent: { metadata: { k: '😀' } },
      })
    })

    it('characters with a meaning to the store have none in a group, a correlation id or a producer', async () => {
      const odd = ['{x}', 'a:b', '*', '\u0000', '\r\nFLUSHALL\r\n', '"}', '\\', '{default}:agents']
      await using victim = await connectAgent(attacked.hub, {
        id: 'victim',
        ephemeral: true,
        groups: odd,
        producer: 'a:b._-',
      })
      await using attacker = await connectAgent(attacked.hub, { ephemeral: true })
      for (const group of odd) {
        await attacker.request(sendFrame({ group }, group, { correlationId: group }))
        expect(await victim.next('message')).toMatchObject({ payload: group, group, correlationId: group })
      }
      await leave(victim)
    })

    it('a MiB of line ends is nothing', async () => {
      await using attacker = await connectAgent(attacked.hub, { ephemeral: true })
      attacker.raw('\n'.repeat(1_048_576))
      await attacker.roundTrip()
      expect(attacker.waiting).toEqual([])
    })

    it.each([
      ['capabilities', `{"type":"update","capabilities":[${'1,'.repeat(480_000)}1]}`],
      ['positions', `{"type":"dead-letters.purge","positions":[${'1,'.repeat(480_000)}1]}`],
      [
        'fields',
        `{"type":"dead-letters.list","where":{${Array.from({ length: 60_000 }, (_, i) => `"k${i}":1`).join()}}}`,
      ],
      ['a field', `{"type":"dead-letters.list","where":{"${'k'.repeat(1_000_000)}":1}}`],
      ['metrics', `{"type":"update","metrics":{"${'k'.repeat(1_000_000)}":1}}`],
      ['metadata', `{"type":"update","metadata":{"a":[${'[],'.repeat(300_000)}1]}}`],
      ['an event', `{"type":"subscribe","events":["${'e'.repeat(1_000_000)}"]}`],
    ])('a MiB of wrong %s is one wrong value, told in a few words', async (_what, frame) => {
      await using attacker = await connectAgent(attacked.hub, { ephemeral: true })
      attacker.raw(`{"ref":"wrong",${frame.slice(1)}`)
      const { error } = await attacker.next('error', ({ ref }) => ref === 'wrong')
      expect(error.code).toBe('bad_frame')
      expect(error.message.length).toBeLessThan(600)
      await leave(attacker)
    })

    it('a MiB of empty frames is answered one by one, without end for nobody else', async () => {
      await using slowed = await startTestHub(core)
      await using attacker = await connectObserver(slowed)
      await using agent = await connectAgent(slowed, { id: 'a1' })
      attacker.raw('{}\n'.repeat(349_525))
      await attacker.next('error')
      const begun = Date.now()
      for (let i = 0; i < 10; i++) await agent.request({ type: 'leader' })
      expect(Date.now() - begun).toBeLessThan(5_000)
    })

    it('numbers beyond what a double holds are refused or pass as JSON has them', async () => {
      await using victim = await connectVictim()
      await using attacker = await connectAgent(attacked.hub, { ephemeral: true })
      for (const number of [
        '9007199254740993',
        '1e400',
        '-1e400',
        '1e-400',
        '123456789012345678901234567890',
      ]) {
        attacker.raw(`{"type":"leader","ref":${number}}`)
        const answer = await attacker.nextWhere((frame) => frame.type === 'error' || frame.type === 'ok')
        if (answer.type === 'error') expect(answer.error.code).toBe('bad_frame')
        attacker.raw(`{"type":"discover","ref":1,"limit":${number}}`)
        expect((await attacker.next('error')).error).toMatchObject({ code: 'bad_frame' })
        attacker.raw(sendText(number))
        await attacker.next('ok')
        expect((await victim.next('message')).payload).toBe(JSON.parse(JSON.stringify(Number(number))))
      }
      await leave(victim)
    })

    it('a payload that is missing is bad_frame, one that is null is null', async () => {
      await using victim = await connectVictim()
      const withoutPayload = { type: 'send', to: { agent: 'victim' }, messageType: 'query' }
      expect(await victim.refusal(withoutPayload)).toMatchObject({ code: 'bad_frame' })
      await victim.request({ ...withoutPayload, payload: null })
      expect(await victim.next('message')).toHaveProperty('payload', null)
      await leave(victim)
    })
  },
)
