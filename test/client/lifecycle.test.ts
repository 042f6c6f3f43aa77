import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest'
import type { AgentOptions } from '../../client/api.ts'
import { connectOn } from '../../client/endpoint.ts'
import type { Client, StatusEvent } from '../../client/api.ts'
import { errorBody } from '../../protocol/error-table.ts'
import { MeshError } from '../../protocol/errors.ts'
import { FakePlatform } from '../support/fake-platform.ts'
import { agentInfo, messageFrame } from '../support/scripted-hub.ts'

const AGENT = { url: 'ws://hub/mesh', name: 'tester', capabilities: ['nlp'] } as const

/** Lets promises and timers of `ms` milliseconds run. */
const pass = (ms = 0): Promise<unknown> => vi.advanceTimersByTimeAsync(ms)

async function connected(platform: FakePlatform, options: Partial<AgentOptions> = {}): Promise<Client> {
  const connecting = connectOn(platform, { ...AGENT, ...options })
  await pass()
  platform.socket.welcome()
  const client = await connecting
  platform.socket.wrote()
  return client
}

function refuse(platform: FakePlatform, code: string, retryAfterMs: number | null = null): void {
  const error = errorBody(new MeshError(code, `${code}!`, { retryAfterMs }))
  platform.socket.listener.opened()
  platform.socket.push({ type: 'error', ref: 'hello', error })
}

describe('the life of a connection', () => {
  beforeEach(() => {
    vi.useFakeTimers()
    vi.spyOn(Math, 'random').mockReturnValue(1)
  })
  afterEach(() => {
    vi.useRealTimers()
    vi.restoreAllMocks()
  })

  it('begins with hello, and nothing is written before the welcome', async () => {
    const platform = new FakePlatform(true)
    const options = {
      id: 'a1',
      version: '1.0.0',
      window: 8,
      namespace: 'blue',
      token: 'secret',
      session: 'old',
    }
    const connecting = connectOn(platform, { ...AGENT, ...options })
    await pass()
    platform.socket.listener.opened()
    platform.socket.push({ type: 'ping' })
    await pass()
    expect(platform.socket.wrote()).toEqual([
      {
        type: 'hello',
        ref: 'hello',
        protocol: 1,
        namespace: 'blue',
        producer: expect.stringMatching(/^[A-Za-z0-9.-]{16}$/),
        session: 'old',
        window: 8,
        token: 'secret',
        agent: { id: 'a1', name: 'tester', capabilities: ['nlp'], version: '1.0.0' },
      },
    ])
    platform.socket.welcome()
    const client = await connecting
    expect([client.id, client.session, client.state.type]).toEqual(['a1', 'session-1', 'open'])
  })

  it('tries each address in turn until one welcomes, waiting longer each time', async () => {
    const platform = new FakePlatform()
    const connecting = connectOn(platform, { ...AGENT, url: ['ws://one', 'ws://two'] })
    for (const delay of [1000, 2250, 4250]) {
      await pass()
      const before = platform.sockets.length
      platform.socket.listener.closed(1006, 'refused')
      await pass(delay - 1)
      expect(platform.sockets.length).toBe(before)
      await pass(1)
      expect(platform.sockets.length).toBe(before + 1)
    }
    platform.socket.welcome()
    expect((await connecting).state.type).toBe('open')
    expect(platform.sockets.map(({ url }) => url)).toEqual(['ws://one', 'ws://two', 'ws://one', 'ws://two'])
  })

  it('ends for good when the hub refuses for good', async () => {
    const platform = new FakePlatform()
    const connecting = connectOn(platform, AGENT)
    const failure = connecting.catch((error: unknown) => error)
    await pass()
    refuse(platform, 'invalid_name')
    expect(await failure).toMatchObject({ name: 'MeshError', code: 'invalid_name' })
    expect([platform.socket.abandoned, vi.getTimerCount(), platform.wakers]).toEqual([true, 0, 0])
  })

  it.each([
    [4401, 'unauthorized'],
    [4403, 'forbidden'],
    [4409, 'agent_taken'],
    [4410, 'not_registered'],
    [4400, 'bad_frame'],
    [1009, 'payload_too_large'],
    [1000, 'not_registered'],
  ])('ends for good at close code %i, as %s', async (code, errorCode) => {
    const platform = new FakePlatform()
    const client = await connected(platform)
    const send = client.send('a2', 1)
    platform.socket.listener.closed(code, 'because')
    expect(await client.closed).toMatchObject({
      code: errorCode,
      message: expect.stringContaining('because'),
    })
    await expect(send).rejects.toMatchObject({ code: errorCode })
    await expect(client.send('a2', 1)).rejects.toMatchObject({ name: 'AbortError' })
    await expect(client.leader()).rejects.toMatchObject({ name: 'AbortError' })
    await pass(100_000)
    expect([platform.sockets.length, vi.getTimerCount()]).toEqual([1, 0])
  })

  it.each([4000, 4001, 4002, 4003, 4004, 4008, 4399, 1001, 1005, 1006, 1011, 1012, 1013])(
    'goes on after close code %i, with the proof of its session',
    async (code) => {
      const platform = new FakePlatform()
      const client = await connected(platform)
      platform.socket.listener.closed(code, '')
      expect(client.state).toMatchObject({ type: 'waiting', delayMs: 1000, cause: { code } })
      await pass(1000)
      platform.socket.welcome({ session: 'session-2' })
      expect(client.state.type).toBe('open')
      expect(platform.socket.wrote()[0]).toMatchObject({ session: 'session-1', agent: { id: 'a1' } })
      expect(client.session).toBe('session-2')
    },
  )

  it.each(['name_taken', 'store_unavailable', 'draining', 'internal'])(
    'asks again when hello is answered %s',
    async (code) => {
      const platform = new FakePlatform()
      const connecting = connectOn(platform, AGENT)
      await pass()
      refuse(platform, code, 5000)
      await pass(4999)
      expect(platform.sockets.length).toBe(1)
      await pass(1)
      platform.socket.welcome()
      expect((await connecting).state.type).toBe('open')
    },
  )

  it('gives up on a taken name after takenTimeoutMs, but only the first time', async () => {
    const platform = new FakePlatform()
    const connecting = connectOn(platform, { ...AGENT, takenTimeoutMs: 3000 })
    const failure = connecting.catch((error: unknown) => error)
    await pass()
    refuse(platform, 'name_taken')
    await pass(1000)
    refuse(platform, 'name_taken')
    await pass(2250)
    refuse(platform, 'name_taken')
    expect(await failure).toMatchObject({ code: 'name_taken', retryable: true })
    expect(vi.getTimerCount()).toBe(0)

    const later = new FakePlatform()
    const client = await connected(later, { takenTimeoutMs: 0 })
    later.socket.listener.closed(1006, '')
    for (let n = 0; n < 5; n++) {
      await pass(20_000)
      refuse(later, 'agent_taken')
    }
    expect(client.state.type).toBe('waiting')
  })

  it('asks for a fresh token before each try; one that can not be had is a failed try', async () => {
    const platform = new FakePlatform()
    const token = vi.fn<() => Promise<string>>()
    token
      .mockResolvedValueOnce('one')
      .mockRejectedValueOnce(new Error('no network'))
      .mockResolvedValueOnce('two')
    const client = await connected(platform, { token })
    expect(platform.socket.token).toBe('one')
    platform.socket.listener.closed(4003, 'token expired')
    await pass(1000)
    expect(client.state).toMatchObject({
      type: 'waiting',
      cause: { reason: 'token', error: { message: 'no network' } },
    })
    await pass(2250)
    platform.socket.welcome()
    expect([platform.socket.token, platform.sockets.length, token.mock.calls.length]).toEqual(['two', 2, 3])
  })

  it('does not wait for ever for a token', async () => {
    const platform = new FakePlatform()
    const token = vi.fn<() => Promise<string>>()
    token.mockReturnValueOnce(new Promise(() => undefined)).mockResolvedValueOnce('one')
    const connecting = connectOn(platform, { ...AGENT, token, connectTimeoutMs: 3000 })
    await pass(4000)
    platform.socket.welcome()
    const client = await connecting
    expect([client.state.type, platform.socket.token]).toEqual(['open', 'one'])
    const abort = new AbortController()
    token.mockReturnValueOnce(new Promise(() => undefined))
    const calledOff = connectOn(platform, { ...AGENT, token, signal: abort.signal })
    abort.abort()
    await expect(calledOff).rejects.toMatchObject({ name: 'AbortError' })
    const closing = client.close()
    await pass(6000)
    await closing
    expect(vi.getTimerCount()).toBe(0)
  })

  it.each<[string, (platform: FakePlatform) => void]>([
    ['closed with 4401', (platform) => platform.socket.listener.closed(4401, 'expired')],
    ['refused as unauthorized', (platform) => refuse(platform, 'unauthorized')],
  ])('once it had a session, a token function is asked again when it is %s', async (_title, turnAway) => {
    const platform = new FakePlatform()
    let asked = 0
    const client = await connected(platform, { token: () => `token ${++asked}` })
    const sending = client.send('a2', 1)
    await pass()
    platform.socket.listener.closed(1006, '')
    for (const delayMs of [1000, 2250, 4250]) {
      expect(client.state).toMatchObject({ type: 'waiting', delayMs })
      await pass(delayMs)
      turnAway(platform)
    }
    expect(client.state).toMatchObject({ cause: { error: { code: 'unauthorized' } } })
    await pass(8250)
    platform.socket.welcome()
    await pass()
    const [, send] = platform.socket.wrote()
    platform.socket.push({ type: 'ok', ref: send?.['ref'], result: { id: 'm1', recipients: 1 } })
    expect(await sending).toMatchObject({ id: 'm1' })
    expect(platform.sockets.map((socket) => socket.token)).toEqual([1, 2, 3, 4, 5].map((n) => `token ${n}`))
  })

  it('ends when a token is not accepted that can not change, or on the first try', async () => {
    const platform = new FakePlatform()
    const client = await connected(platform, { token: 'fixed' })
    platform.socket.listener.closed(1006, '')
    await pass(1000)
    platform.socket.listener.closed(4401, '')
    expect(await client.closed).toMatchObject({ code: 'unauthorized' })
    const never = new FakePlatform()
    const failure = connectOn(never, { ...AGENT, token: () => 'bad' }).catch((error: unknown) => error)
    await pass()
    never.socket.listener.closed(4401, '')
    expect(await failure).toMatchObject({ code: 'unauthorized' })
    expect([never.sockets.length, vi.getTimerCount()]).toEqual([1, 0])
  })

  it('can be called off while it connects', async () => {
    const platform = new FakePlatform()
    const abort = new AbortController()
    const connecting = connectOn(platform, { ...AGENT, signal: abort.signal })
    await pass()
    abort.abort()
    await expect(connecting).rejects.toMatchObject({ name: 'AbortError' })
    expect([platform.socket.abandoned, vi.getTimerCount()]).toEqual([true, 0])
    await expect(connectOn(platform, { ...AGENT, signal: AbortSignal.abort() })).rejects.toMatchObject({
      name: 'AbortError',
    })
    expect(platform.sockets.length).toBe(1)
  })

  it('does not wait for ever for a socket or a welcome', async () => {
    const platform = new FakePlatform()
    void connectOn(platform, { ...AGENT, connectTimeoutMs: 3000 })
    await pass(3000)
    expect(platform.socket.abandoned).toBe(true)
    await pass(1000)
    platform.socket.listener.opened()
    await pass(3000)
    expect([platform.sockets.length, platform.socket.abandoned]).toEqual([2, true])
  })

  it('answers a ping at once, before anything else that waits to be written', async () => {
    const platform = new FakePlatform()
    const client = await connected(platform)
    void client.send('a2', 1)
    platform.socket.push({ type: 'ping' })
    expect(platform.socket.wrote()).toEqual([{ type: 'pong' }])
    await pass()
    expect(platform.socket.wrote()).toMatchObject([{ type: 'send' }])
  })

  it('gives up a hub that is silent for interval and timeout, without waiting for the socket to close', async () => {
    const platform = new FakePlatform()
    const client = await connected(platform)
    const silent = platform.socket
    await pass(29_000)
    silent.push({ type: 'pong' })
    await pass(29_999)
    expect(client.state.type).toBe('open')
    await pass(1001)
    expect(client.state).toMatchObject({
      type: 'waiting',
      attempt: 1,
      cause: { reason: 'silent', code: null },
    })
    expect(silent.abandoned).toBe(true)
    await pass(1000)
    platform.socket.welcome()
    silent.listener.closed(4409, 'another session took over')
    silent.push(messageFrame('m1'))
    expect(client.state.type).toBe('open')
  })

  it('judges silence by the wall clock: after a sleep the first look finds it', async () => {
    const platform = new FakePlatform()
    const client = await connected(platform)
    vi.setSystemTime(Date.now() + 3_600_000)
    await pass(2500)
    expect(client.state).toMatchObject({ type: 'waiting', cause: { reason: 'silent' } })
  })

  it('tries at once, spread over a second, when the machine wakes up', async () => {
    const platform = new FakePlatform()
    const client = await connected(platform)
    for (let n = 0; n < 6; n++) {
      platform.socket.listener.closed(1006, '')
      await pass(n < 5 ? 20_000 : 0)
    }
    expect(client.state).toMatchObject({ type: 'waiting', delayMs: 15_250 })
    platform.wake()
    expect(client.state).toMatchObject({ type: 'waiting', delayMs: 1000 })
    const before = platform.sockets.length
    await pass(1000)
    expect(platform.sockets.length).toBe(before + 1)
    await pass(15_250)
    expect(client.state.type).toBe('waiting')
    expect(platform.sockets.length).toBe(before + 1)
  })

  it('tries at once on waking up when its next try is overdue, however long the timers stood still', async () => {
    const platform = new FakePlatform()
    const client = await connected(platform)
    for (let n = 0; n < 5; n++) {
      platform.socket.listener.closed(1006, '')
      await pass(n < 4 ? 20_000 : 0)
    }
    // The clock goes on while a machine sleeps, its timers do not.
    vi.setSystemTime(Date.now() + 3_600_000)
    const before = platform.sockets.length
    platform.wake()
    expect(client.state).toMatchObject({ type: 'waiting', delayMs: 1000 })
    await pass(1000)
    expect(platform.sockets.length).toBe(before + 1)
  })

  it('lets go of its socket when the page is put away, and connects at once when it is shown again', async () => {
    const platform = new FakePlatform()
    const client = await connected(platform)
    const kept = platform.socket
    const sending = client.send('a2', 'written at the last moment')
    platform.putAway()
    expect(kept.wrote()).toMatchObject([{ type: 'send', seq: 1 }])
    expect([kept.closedWith, kept.abandoned]).toEqual([1000, true])
    expect(client.state).toMatchObject({ type: 'waiting', cause: { reason: 'left', code: null } })
    platform.putAway()
    platform.wake(true)
    vi.setSystemTime(Date.now() + 5)
    platform.wake()
    await pass()
    expect([client.state.type, platform.sockets.length]).toEqual(['connecting', 2])
    platform.socket.welcome()
    await pass()
    const [, again] = platform.socket.wrote()
    expect(again).toMatchObject({ type: 'send', seq: 1, payload: 'written at the last moment' })
    platform.socket.push({ type: 'ok', ref: again?.['ref'], result: { id: 'm1', recipients: 1 } })
    expect(await sending).toMatchObject({ id: 'm1' })
  })

  it('goes on by itself where a page was put away and nobody says that it is back', async () => {
    const platform = new FakePlatform()
    const client = await connected(platform)
    platform.putAway()
    await pass(4999)
    expect([client.state.type, platform.sockets.length]).toEqual(['waiting', 1])
    await pass(1)
    platform.socket.welcome()
    expect(client.state.type).toBe('open')
  })

  it('opens no socket on a page that was put away while a token was fetched or a hub greeted', async () => {
    const platform = new FakePlatform()
    let give: (token: string) => void = () => undefined
    const token = (): Promise<string> => new Promise((resolve) => (give = resolve))
    const connecting = connectOn(platform, { ...AGENT, token })
    await pass()
    platform.putAway()
    give('late')
    await pass()
    expect(platform.sockets.length).toBe(0)
    platform.wake(true)
    await pass()
    give('fresh')
    await pass()
    platform.socket.listener.opened()
    platform.putAway()
    expect(platform.socket.abandoned).toBe(true)
    platform.wake(true)
    await pass()
    give('fresher')
    await pass()
    platform.socket.welcome()
    expect((await connecting).state.type).toBe('open')
    expect(platform.sockets.map((socket) => socket.token)).toEqual(['fresh', 'fresher'])
  })

  it('goes on for as long as the hub is gone, one socket at a time, and then sends what waited', async () => {
    const platform = new FakePlatform()
    const client = await connected(platform)
    const sending = client.send('a2', 'patience')
    await pass()
    platform.socket.listener.closed(1006, '')
    const began = Date.now()
    let tried = 1
    while (Date.now() - began < 3_600_000) {
      if (client.state.type !== 'waiting') throw new Error(`${client.state.type} instead of waiting`)
      await pass(client.state.delayMs)
      expect(platform.sockets.length).toBe(++tried)
      platform.socket.listener.closed(1006, '')
    }
    expect(tried).toBeGreaterThan(3_600 / 15.5)
    expect(platform.sockets.filter(({ abandoned }) => !abandoned)).toEqual([])
    await pass(15_250)
    platform.socket.welcome()
    await pass()
    const [, send] = platform.socket.wrote()
    expect(send).toMatchObject({ type: 'send', payload: 'patience' })
    platform.socket.push({ type: 'ok', ref: send?.['ref'], result: { id: 'm1', recipients: 1 } })
    expect(await sending).toMatchObject({ recipients: 1 })
  })

  it('still notices a silent hub after the wall clock was set back', async () => {
    const platform = new FakePlatform()
    const client = await connected(platform)
    vi.setSystemTime(Date.now() - 3_600_000)
    await pass(30_000 + 5000)
    expect(client.state).toMatchObject({ type: 'waiting', cause: { reason: 'silent' } })
  })

  it('asks an open hub on waking up, and gives it up when that stays unanswered', async () => {
    const platform = new FakePlatform()
    const client = await connected(platform)
    platform.wake()
    expect(platform.socket.wrote()).toEqual([{ type: 'ping' }])
    platform.socket.push({ type: 'pong' })
    await pass(12_500)
    expect(client.state.type).toBe('open')
    platform.wake()
    await pass(12_500)
    expect(client.state).toMatchObject({ type: 'waiting', cause: { reason: 'silent' } })
  })

  it('leaves a hub that says goaway at the given time, after its socket is closed', async () => {
    const platform = new FakePlatform()
    const client = await connected(platform, { url: ['ws://one', 'ws://two'] })
    const old = platform.socket
    old.push({ type: 'goaway', reason: 'draining', reconnectAfterMs: 850 })
    void client.send('a2', 'still here')
    await pass(849)
    expect([client.state.type, platform.sockets.length]).toEqual(['open', 1])
    await pass(1)
    expect([client.state.type, old.closedWith, platform.sockets.length]).toEqual(['connecting', 1000, 1])
    old.listener.closed(1000, '')
    await pass()
    expect([old.abandoned, platform.sockets.length]).toEqual([true, 2])
    platform.socket.welcome({ hub: 'hub-2' })
    await pass()
    expect(client.state).toMatchObject({ type: 'open', url: 'ws://two', hub: 'hub-2' })
    expect(platform.socket.wrote()).toMatchObject([
      { type: 'hello', session: 'session-1' },
      { type: 'send', seq: 1, payload: 'still here' },
    ])
  })

  it('does not wait for ever for the socket it leaves to close', async () => {
    const platform = new FakePlatform()
    await connected(platform)
    const old = platform.socket
    old.push({ type: 'goaway', reason: 'draining', reconnectAfterMs: 0 })
    await pass(999)
    expect([old.closedWith, old.abandoned, platform.sockets.length]).toEqual([1000, false, 1])
    await pass(1)
    expect([old.abandoned, platform.sockets.length]).toEqual([true, 2])
  })

  it('ends without an error when the hub closes after bye, though its ok was not read', async () => {
    const platform = new FakePlatform()
    const client = await connected(platform)
    const closing = client.close()
    await pass()
    expect(platform.socket.wrote()).toMatchObject([{ type: 'bye', keep: true }])
    platform.socket.listener.closed(1000, 'bye')
    await closing
    expect([await client.closed, vi.getTimerCount()]).toEqual([null, 0])
  })

  it('takes a hub at its word when it closes before the time it gave', async () => {
    const platform = new FakePlatform()
    const client = await connected(platform)
    platform.socket.push({ type: 'goaway', reason: 'draining', reconnectAfterMs: 20_000 })
    platform.socket.listener.closed(4001, 'draining')
    await pass(1000)
    platform.socket.welcome()
    await pass(25_000)
    expect([client.state.type, platform.sockets.length]).toEqual(['open', 2])
  })

  it('says hello again under a new producer when the hub has forgotten the agent and sends are open', async () => {
    const platform = new FakePlatform()
    const client = await connected(platform)
    void client.send('a2', 'one')
    await pass()
    platform.socket.listener.closed(1006, '')
    await pass(1000)
    platform.socket.welcome({ resumed: false })
    const [hello] = platform.socket.wrote()
    expect([client.state.type, platform.socket.closedWith]).toEqual(['connecting', 1000])
    platform.socket.listener.closed(1000, '')
    await pass()
    expect([client.state.type, platform.sockets.length]).toEqual(['connecting', 3])
    platform.socket.welcome({ resumed: true })
    await pass()
    const [again, send] = platform.socket.wrote()
    expect(again?.['producer']).not.toBe(hello?.['producer'])
    expect(send).toMatchObject({ type: 'send', seq: 1, payload: 'one' })
    expect(client.state).toMatchObject({ type: 'open', resumed: false })
  })

  it('connects again when the hub sends what is no frame', async () => {
    const platform = new FakePlatform()
    const client = await connected(platform)
    platform.socket.listener.text('<html>')
    expect(client.state).toMatchObject({ type: 'waiting', cause: { reason: 'broken' } })
  })

  it('tells later hellos what update changed, and tells the hub again that the agent is degraded', async () => {
    const platform = new FakePlatform()
    const client = await connected(platform)
    const updating = client.update({ status: 'degraded', statusReason: 'GPU lost', capabilities: ['ocr'] })
    await pass()
    const [update] = platform.socket.wrote()
    const agent = agentInfo({ status: 'degraded', capabilities: ['ocr'] })
    platform.socket.push({ type: 'ok', ref: update?.['ref'], result: { agent } })
    expect(await updating).toEqual(agent)
    expect(client.agent).toEqual(agent)
    platform.socket.listener.closed(1006, '')
    await pass(1000)
    platform.socket.welcome({ resumed: false, agent: agentInfo({ capabilities: ['ocr'] }) })
    await pass()
    expect(platform.socket.wrote()).toMatchObject([
      { type: 'hello', agent: { name: 'tester', capabilities: ['ocr'] } },
      { type: 'update', status: 'degraded', statusReason: 'GPU lost' },
    ])
  })

  it('asks again what was not answered when the connection was lost', async () => {
    const platform = new FakePlatform()
    const client = await connected(platform)
    const asked = client.leader()
    await pass()
    platform.socket.listener.closed(1006, '')
    await pass(1000)
    platform.socket.welcome()
    await pass()
    const [, again] = platform.socket.wrote()
    platform.socket.push({ type: 'ok', ref: again?.['ref'], result: { leader: { agentId: 'a9', term: 3 } } })
    expect(await asked).toEqual({ agentId: 'a9', term: 3 })
  })

  it('is told as a stream of states, from the one it is in to the end', async () => {
    const platform = new FakePlatform()
    const seen: StatusEvent[] = []
    const client = await connected(platform, { onStatus: (event) => seen.push(event) })
    const following = (async () => {
      const types: string[] = []
      for await (const event of client.status()) types.push(event.type)
      return types
    })()
    platform.socket.listener.closed(1006, '')
    await pass(1000)
    platform.socket.welcome()
    platform.socket.push({ type: 'error', error: { code: 'bad_frame', message: 'what?', retryable: false } })
    platform.socket.listener.closed(4410, '')
    expect(await following).toEqual([
      'open',
      'waiting',
      'connecting',
      'greeting',
      'open',
      'complaint',
      'closed',
    ])
    expect(seen.map(({ type }) => type).slice(0, 4)).toEqual(['connecting', 'greeting', 'open', 'waiting'])
    expect((await client.status().next()).value).toMatchObject({
      type: 'closed',
      error: { code: 'not_registered' },
    })
  })

  it('refuses an address that is none', async () => {
    const platform = new FakePlatform()
    for (const url of ['http://hub', 'hub', '', []]) {
      await expect(connectOn(platform, { ...AGENT, url })).rejects.toMatchObject({ code: 'bad_frame' })
    }
    expect(platform.sockets).toEqual([])
  })

  it('ends when the platform can not use the address', async () => {
    const platform = new FakePlatform()
    platform.open = () => {
      throw new TypeError('not on this page')
    }
    await expect(connectOn(platform, AGENT)).rejects.toThrow('not on this page')
    expect(vi.getTimerCount()).toBe(0)
  })

  it('of an observer has no agent, and nothing to send', async () => {
    const platform = new FakePlatform()
    const connecting = connectOn(platform, { url: AGENT.url, observer: true })
    await pass()
    platform.socket.welcome({ agent: null, session: null })
    const client = await connecting
    expect(platform.socket.wrote()).toEqual([{ type: 'hello', ref: 'hello', protocol: 1, namespace: null }])
    expect([client.id, client.agent, client.session]).toEqual([null, null, null])
    await expect(client.send('a2', 1)).rejects.toMatchObject({ code: 'forbidden' })
  })
})
