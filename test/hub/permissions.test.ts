import { describe, expect, it } from 'vitest'
import type { Core } from '../../src/server.ts'
import { openSocket, type TestAgent } from '../support/agent.ts'
import { joinAs, startClockedHub, withSecret } from '../support/authentication.ts'
import { CORES, startMesh, startTestHub } from '../support/hubs.ts'
import { sendFrame } from '../support/talk.ts'
import { tokenFor } from '../support/tokens.ts'

const BASE = ['register', 'serve']

/** A hub, a target that may do everything, and a bot with what is needed to register and these permissions. */
async function scene(core: (typeof CORES)[number], ...permissions: string[]) {
  const hub = await startTestHub(core, await withSecret())
  const all = await joinAs(hub, 'target', {}, { groups: ['eu'], capabilities: ['nlp'] })
  const bot = await joinAs(hub, 'bot', { mesh: [...BASE, ...permissions] }, { capabilities: ['asking'] })
  return {
    hub,
    all,
    bot,
    async [Symbol.asyncDispose]() {
      await hub.close()
    },
  }
}

const codeOf = async (bot: TestAgent, frame: object): Promise<string> => {
  const answer = await bot.answer(frame)
  return answer.type === 'error' ? answer.error.code : 'ok'
}

const STREAM = { type: 'stream.open', stream: 's1', to: { agent: 'target' } }
const DEAD = { type: 'dead-letters.list' }

/** The permission that a command takes, and one that is not enough. */
const COMMANDS: readonly (readonly [what: string, frame: object, takes: string[], tooLittle: string[]])[] = [
  ['send to an agent', sendFrame('target', 1), ['send:target'], ['send:targe', 'send:name=*', 'broadcast']],
  [
    'send by name',
    sendFrame({ name: 'target-name' }, 1),
    ['send:name=target-*'],
    ['send:target*', 'send:agent=*'],
  ],
  [
    'send to the leader',
    sendFrame({ leader: true }, 1),
    ['send:role=leader'],
    ['send:agent=*', 'send:t*', 'lead'],
  ],
  [
    'send to a queue',
    sendFrame({ capability: 'nlp' }, 1),
    ['send:capability=nlp'],
    ['send:agent=*', 'serve:nlp'],
  ],
  [
    'broadcast to all',
    sendFrame({ all: true }, 1),
    ['broadcast'],
    ['broadcast:group=*', 'broadcast:a*', 'send'],
  ],
  [
    'broadcast to a group',
    sendFrame({ group: 'eu' }, 1),
    ['broadcast:eu'],
    ['broadcast:role=all', 'broadcast:us'],
  ],
  [
    'broadcast to a capability',
    sendFrame({ capability: 'nlp', mode: 'all' }, 1),
    ['broadcast:capability=nlp'],
    ['send', 'broadcast:nlp'],
  ],
  ['open a stream', STREAM, ['send:target'], ['send:name=*', 'send:bot']],
  ['discover', { type: 'discover' }, ['discover'], ['watch', 'admin', 'discover:other']],
  ['ask who leads', { type: 'leader' }, ['discover:default'], ['watch', 'lead']],
  ['subscribe', { type: 'subscribe' }, ['watch'], ['discover', 'watch:other']],
  [
    'subscribe to dead letters',
    { type: 'subscribe', events: ['message.dead_lettered'] },
    ['watch', 'admin'],
    ['watch'],
  ],
  ['list dead letters', DEAD, ['admin:default'], ['discover', 'watch', 'admin:other']],
  ['redrive dead letters', { ...DEAD, type: 'dead-letters.redrive', where: {} }, ['admin'], ['send']],
  ['purge dead letters', { ...DEAD, type: 'dead-letters.purge', where: {} }, ['admin'], ['send']],
  ['serve more', { type: 'update', capabilities: ['asking', 'nlp'] }, [], []],
  ['ask to lead', { type: 'update', leaderEligible: true }, ['lead'], ['admin', 'lead:other']],
]

describe.each(CORES)('permissions on %s', (core) => {
  it.each(COMMANDS)('to %s', async (_, frame, takes, tooLittle) => {
    await using enough = await scene(core, ...takes)
    expect(await codeOf(enough.bot, frame)).toBe('ok')
    if (takes.length === 0) return
    await using none = await scene(core)
    expect(await codeOf(none.bot, frame)).toBe('forbidden')
    await using little = await scene(core, ...tooLittle)
    expect(await codeOf(little.bot, frame)).toBe('forbidden')
  })

  it('a refusal names the verb, the subject and the remedy', async () => {
    await using refused = await scene(core, 'send:a*')
    const { message } = await refused.bot.refusal(sendFrame({ name: 'target-name' }, 1))
    expect(message).toBe(
      'the token of "bot" does not permit to send: name "target-name"; it takes the permission "send:name=target-name"',
    )
  })

  it('a refused send with a seq has ended, and is never stored', async () => {
    await using hub = await startTestHub(core, await withSecret())
    await using target = await joinAs(hub, 'target')
    await using bot = await joinAs(hub, 'bot', { mesh: [...BASE, 'send:other'] }, { producer: 'p' })
    const frame = sendFrame('target', 1, { seq: 1 })
    expect([await codeOf(bot, frame), await codeOf(bot, frame)]).toEqual(['forbidden', 'forbidden'])
    const token = await tokenFor('bot', { mesh: '*' })
    await bot.request({ type: 'auth', token })
    expect(await codeOf(bot, frame)).toBe('forbidden')
    await bot.request(sendFrame('target', 2, { seq: 2 }))
    expect((await target.next('message')).payload).toBe(2)
    expect(target.waitingOf('message')).toEqual([])
  })

  it('every target of a frame with several is judged', async () => {
    await using refused = await scene(core, 'send:target')
    const both = { agent: 'target', name: 'somebody' }
    expect(await codeOf(refused.bot, sendFrame(both, 1))).toBe('forbidden')
  })

  it('an agent registers only where it may, with capabilities that it may serve', async () => {
    await using hub = await startTestHub(core, await withSecret())
    const join = (mesh: string[], capabilities: string[], id = 'bot:1') =>
      joinAs(hub, 'bot', { mesh }, { id, capabilities })
    await expect(join(['serve'], ['nlp'])).rejects.toMatchObject({ code: 'forbidden' })
    await expect(join(['register'], ['nlp'])).rejects.toMatchObject({ code: 'forbidden' })
    await expect(join(['register:bot', 'serve'], ['nlp'])).rejects.toMatchObject({ code: 'forbidden' })
    await expect(join(['register', 'serve:nlp'], ['nlp', 'vision'])).rejects.toMatchObject({
      code: 'forbidden',
      message: expect.stringContaining('"serve:vision"') as string,
    })
    await using bot = await join(['register:bot:*', 'serve:nlp*'], ['nlp', 'nlp-de'])
    expect(await codeOf(bot, { type: 'update', capabilities: ['nlp', 'vision'] })).toBe('forbidden')
    expect(await codeOf(bot, { type: 'update', capabilities: ['nlp-en'] })).toBe('ok')
  })

  it('who may not lead is registered and not eligible, unless it asks to be', async () => {
    await using hub = await startTestHub(core, await withSecret())
    await using eldest = await joinAs(hub, 'eldest', { mesh: [...BASE, 'discover'] })
    expect(await eldest.request({ type: 'leader' })).toMatchObject({ leader: { agentId: null } })
    await using _younger = await joinAs(hub, 'younger')
    expect(await eldest.request({ type: 'leader' })).toMatchObject({ leader: { agentId: 'younger' } })
    const asking = joinAs(hub, 'asking', { mesh: BASE }, { leaderEligible: true })
    await expect(asking).rejects.toMatchObject({ code: 'forbidden' })
  })

  it('an observer may discover or watch, whichever it is permitted, and is not let in for nothing', async () => {
    await using hub = await startTestHub(core, await withSecret())
    const observe = async (...mesh: string[]) => {
      const socket = await openSocket(hub)
      const answer = await socket.answer({
        type: 'hello',
        protocol: 1,
        token: await tokenFor('eye', { mesh }),
      })
      const commands = answer.type === 'welcome' ? [{ type: 'discover' }, { type: 'subscribe' }] : []
      const codes: string[] = []
      for (const frame of commands) codes.push(await codeOf(socket as TestAgent, frame))
      await socket.cut()
      return answer.type === 'error' ? answer.error.code : codes
    }
    expect(await observe()).toBe('forbidden')
    expect(await observe('send', 'register', 'admin')).toBe('forbidden')
    expect(await observe('discover')).toEqual(['ok', 'forbidden'])
    expect(await observe('watch')).toEqual(['forbidden', 'ok'])
  })

  it('what acknowledges, answers pings and leaves takes no permission', async () => {
    await using hub = await startTestHub(core, await withSecret())
    await using sender = await joinAs(hub, 'sender')
    await using bot = await joinAs(hub, 'bot', { mesh: BASE })
    await sender.request(sendFrame('bot', 1))
    const { id } = await bot.next('message')
    bot.send({ type: 'progress', ids: [id] })
    bot.send({ type: 'ack', ids: [id] })
    await bot.roundTrip()
    await bot.request({ type: 'bye' })
  })
})

describe('permissions that change with a new token', () => {
  const refresh = async (agent: TestAgent, sub: string, mesh: string[], ns?: string) =>
    agent.request({ type: 'auth', token: await tokenFor(sub, { mesh, ns }) })

  it('count from its answer on', async () => {
    await using hub = await startClockedHub()
    await using bot = await joinAs(hub, 'bot', { mesh: BASE })
    expect(await codeOf(bot, { type: 'discover' })).toBe('forbidden')
    await refresh(bot, 'bot', [...BASE, 'discover'])
    expect(await codeOf(bot, { type: 'discover' })).toBe('ok')
    await refresh(bot, 'bot', BASE)
    expect(await codeOf(bot, { type: 'discover' })).toBe('forbidden')
  })

  it.each([
    ['its namespace', ['*'], 'other'],
    ['its id', ['serve', 'watch'], undefined],
    ['its capability', ['register', 'serve:other', 'watch'], undefined],
    ['its subscription', BASE, undefined],
  ])('close the socket with 4403 where it may no longer have %s', async (_, mesh, ns) => {
    await using hub = await startClockedHub()
    await using bot = await joinAs(hub, 'bot', { mesh: [...BASE, 'watch'] })
    await bot.request({ type: 'subscribe' })
    bot.send({ type: 'auth', ref: 1, token: await tokenFor('bot', { mesh, ns }) })
    expect((await bot.closed).code).toBe(4403)
  })

  it('close it where it hears of dead letters and administers no more', async () => {
    await using hub = await startClockedHub()
    await using bot = await joinAs(hub, 'bot')
    await bot.request({ type: 'subscribe', events: ['message.dead_lettered'] })
    bot.send({ type: 'auth', ref: 1, token: await tokenFor('bot', { mesh: [...BASE, 'watch'] }) })
    expect((await bot.closed).code).toBe(4403)
  })

  it('count for a command that is still under way, too', async () => {
    let stored = (): void => undefined
    const stuck = new Promise<void>((resolve) => (stored = resolve))
    const slow = (core: Core): Core => ({
      ...core,
      registry: new Proxy(core.registry, {
        get: (registry, method: keyof Core['registry']) =>
          method === 'update'
            ? async (...asked: Parameters<Core['registry']['update']>) => {
                await stuck
                return registry.update(...asked)
              }
            : registry[method].bind(registry),
      }),
    })
    await using mesh = await startMesh('memory', 1, await withSecret(), slow)
    await using bot = await joinAs(mesh.hub(0), 'bot', {}, { capabilities: ['asking'] })
    bot.send({ type: 'update', ref: 1, capabilities: ['asking', 'nlp'] })
    await refresh(bot, 'bot', ['register', 'serve:asking', 'lead'])
    stored()
    expect((await bot.closed).code).toBe(4403)
  })

  it('take the lead from who may not lead any more, before they are answered', async () => {
    await using hub = await startClockedHub()
    await using first = await joinAs(hub, 'first')
    await using second = await joinAs(hub, 'second')
    await refresh(first, 'first', [...BASE, 'discover'])
    expect(await first.request({ type: 'leader' })).toMatchObject({ leader: { agentId: 'second' } })
    await second.roundTrip()
  })
})
