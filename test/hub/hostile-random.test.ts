import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { COMMANDS, type CommandType } from '../../protocol/commands.ts'
import { connectAgent, openSocket } from '../support/agent.ts'
import { CORES } from '../support/hubs.ts'
import { sendFrame } from '../support/talk.ts'
import { hubToAttack } from '../support/attack.ts'

describe.each(CORES)(
  'whatever an attacker sends, the hub lives and others are undisturbed: on %s',
  (core) => {
    const attacked = hubToAttack(core)

    it('any JSON value in any field of any command is answered, once, or ignored', async () => {
      const value = fc.oneof(
        fc.jsonValue({ maxDepth: 3 }),
        fc.constantFrom<unknown>(
          null,
          true,
          0,
          -1,
          1.5,
          1e308,
          2 ** 53,
          '',
          '\u0000',
          '\ud800',
          [],
          {},
          [[]],
          'x'.repeat(300),
        ),
        fc.constant(
          JSON.parse('{"__proto__":{"polluted":1},"constructor":{"prototype":{"polluted":1}}}') as object,
        ),
      )
      const valid: { readonly [Type in CommandType]: Record<string, unknown> } = {
        hello: { protocol: 1, agent: { name: 'attacker', capabilities: ['nlp'] } },
        auth: { token: 'a.b.c' },
        bye: { keep: false },
        send: sendFrame({ agent: 'nobody' }, 1, {
          correlationId: 'c',
          ttlMs: 1_000,
          asLeader: 1,
          echo: true,
        }) as Record<string, unknown>,
        ack: { ids: ['m'] },
        nack: { id: 'm', requeue: true, delayMs: 1, reason: 'r' },
        progress: { ids: ['m'] },
        ping: {},
        pong: { metrics: { load: 1 } },
        discover: {
          where: { capabilities: { all: ['nlp'] }, metadata: { k: 'v' }, version: '^1' },
          limit: 10,
        },
        update: { metrics: { load: 1 } },
        leader: {},
        subscribe: { events: ['agent.*'], where: { status: ['online'] }, since: 5 },
        unsubscribe: { subscription: 's' },
        'dead-letters.list': { where: { reason: 'r' }, payload: true, limit: 5, cursor: '1-1' },
        'dead-letters.redrive': { where: { reason: 'r' } },
        'dead-letters.purge': { positions: ['1-1'] },
        'stream.open': { stream: 's', to: { agent: 'victim' } },
        'stream.credit': { stream: 's', credit: 1 },
        'stream.chunk': { stream: 's', seq: 0, payload: 1 },
        'stream.end': { stream: 's', error: { code: 'c', message: 'm' } },
        'stream.cancel': { stream: 's', reason: 'r' },
      }
      const fieldsOf = (type: CommandType): string[] =>
        Object.keys(COMMANDS[type].def.shape).filter((field) => field !== 'type')
      // `hello` on an open connection and a `bye` that is right end it, as they must.
      const types = (Object.keys(COMMANDS) as CommandType[]).filter(
        (type) => type !== 'hello' && type !== 'bye',
      )
      const frames = fc.constantFrom(...types).chain((type) =>
        fc.record({
          type: fc.constant(type),
          // Updates are slowed down to five a second: wrong types only, which are refused before that.
          field: fc.constantFrom(
            ...(type === 'update' ? ['ref', 'metadata'] : [...fieldsOf(type), 'unknown', '__proto__']),
          ),
          value: type === 'update' ? fc.constantFrom<unknown>(1, 'x', [1], { k: 1 }, true) : value,
        }),
      )
      await using attacker = await connectAgent(attacked.hub, { ephemeral: true })
      let ref = 0
      await fc.assert(
        fc.asyncProperty(fc.array(frames, { minLength: 1, maxLength: 20 }), async (batch) => {
          const refs: number[] = []
          const texts = batch.map(({ type, field, value: given }) => {
            ref += 1
            if (field !== 'ref' && 'ref' in COMMANDS[type].def.shape) refs.push(ref)
            // Not by a literal: `__proto__` has to become a member of the JSON.
            const members = { ...valid[type], type, ref }
            const rest = Object.entries(members).filter(([name]) => name !== field)
            const all = [...rest, [field, given] as const].map(
              ([name, one]) => `${JSON.stringify(name)}:${JSON.stringify(one)}`,
            )
            return `{${all.join(',')}}`
          })
          attacker.raw(texts.join('\n'))
          for (const one of refs) {
            const answer = await attacker.nextWhere(
              (frame) => 'ref' in frame && frame.ref === one,
              `answer to one of ${texts.join('\n')}`,
            )
            if (answer.type === 'error') expect(answer.error.code).not.toBe('internal')
          }
          await attacker.roundTrip()
          const again = attacker.waiting.filter(
            (frame) => 'ref' in frame && refs.includes(frame.ref as number),
          )
          expect(again).toEqual([])
        }),
        { numRuns: 60, endOnFailure: true },
      )
      expect(attacker.waitingOf('error').filter(({ error }) => error.code === 'internal')).toEqual([])
      // Its subscriptions told it of others; it has not become another agent by all this.
      expect(await attacker.request({ type: 'discover', where: { name: 'victim' } })).toMatchObject({
        agents: [],
      })
    })

    it('any JSON value in any field of hello is refused or welcomed', async () => {
      const shape = COMMANDS.hello.def.shape
      const field = fc.constantFrom(...Object.keys(shape).filter((one) => one !== 'type' && one !== 'ref'))
      const agentField = fc.constantFrom(
        'id',
        'name',
        'capabilities',
        'version',
        'profiles',
        'groups',
        'address',
        'metadata',
        'concurrency',
      )
      let socket = await openSocket(attacked.hub)
      const greet = async (frame: object): Promise<void> => {
        const answer = await socket.answer(frame)
        if (answer.type === 'error') {
          expect(answer.error.code).toMatch(
            /^(bad_frame|invalid_agent|invalid_name|invalid_capability|name_taken)$/,
          )
          return
        }
        await socket.request({ type: 'bye' })
        await socket.closed
        socket = await openSocket(attacked.hub)
      }
      const agent = { name: 'attacker', capabilities: ['nlp'] }
      await fc.assert(
        fc.asyncProperty(field, agentField, fc.jsonValue({ maxDepth: 3 }), async (one, inner, value) => {
          await greet({ type: 'hello', protocol: 1, agent, [one]: value })
          await greet({ type: 'hello', protocol: 1, agent: { ...agent, [inner]: value } })
        }),
        { numRuns: 100 },
      )
      await socket.cut()
    })

    it('random text closes with 4400, random bytes with 1003 or 1007, or they are frames after all', async () => {
      await fc.assert(
        fc.asyncProperty(
          fc.oneof(fc.string({ unit: 'binary', maxLength: 200 }), fc.uint8Array({ maxLength: 200 })),
          async (data) => {
            await using socket = await openSocket(attacked.hub)
            if (typeof data === 'string') socket.raw(data)
            // As a text message, whatever the bytes are.
            else socket.webSocket.send(data, { binary: false })
            socket.webSocket.send(Buffer.from('end'), { binary: true })
            const { code } = await socket.closed
            expect([1003, 1007, 4400]).toContain(code)
          },
        ),
        { numRuns: 40 },
      )
    })

    it.each([
      ['a lone continuation byte', [0x22, 0x80, 0x22]],
      ['an overlong slash', [0x22, 0xc0, 0xaf, 0x22]],
      ['a surrogate in UTF-8', [0x22, 0xed, 0xa0, 0x80, 0x22]],
      ['a byte that is never UTF-8', [0xff]],
      ['a sequence that is cut', [0x22, 0xe2, 0x9c]],
    ])('invalid UTF-8 closes with 1007: %s', async (_what, bytes) => {
      await using attacker = await connectAgent(attacked.hub, { ephemeral: true })
      attacker.webSocket.send(Buffer.from(bytes), { binary: false })
      expect(await attacker.closed).toMatchObject({ code: 1007 })
    })
  },
)
