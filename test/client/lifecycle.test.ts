import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest'
import { connectOn } from '../../client/endpoint.ts'
import type { StatusEvent } from '../../client/api.ts'
import { AGENT, connected, FakePlatform, pass } from '../support/fake-platform.ts'
import { agentInfo, messageFrame } from '../support/scripted-hub.ts'

describe('the life of a connection', () => {
  beforeEach(() => {
    vi.useFakeTimers()
    vi.spyOn(Math, 'random').mockReturnValue(1)
  })
  afterEach(() => {
    vi.useRealTimers()
    vi.restoreAllMocks()
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
