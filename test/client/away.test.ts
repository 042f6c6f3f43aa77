import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest'
import { connectOn } from '../../client/endpoint.ts'
import { AGENT, connected, FakePlatform, pass } from '../support/fake-platform.ts'

describe('a client that was away', () => {
  beforeEach(() => {
    vi.useFakeTimers()
    vi.spyOn(Math, 'random').mockReturnValue(1)
  })
  afterEach(() => {
    vi.useRealTimers()
    vi.restoreAllMocks()
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
})
