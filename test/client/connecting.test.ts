import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest'
import { connectOn } from '../../client/endpoint.ts'
import { errorBody } from '../../protocol/error-table.ts'
import { MeshError } from '../../protocol/errors.ts'
import { AGENT, connected, FakePlatform, pass } from '../support/fake-platform.ts'

function refuse(platform: FakePlatform, code: string, retryAfterMs: number | null = null): void {
  const error = errorBody(new MeshError(code, `${code}!`, { retryAfterMs }))
  platform.socket.listener.opened()
  platform.socket.push({ type: 'error', ref: 'hello', error })
}

describe('connecting', () => {
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
})
