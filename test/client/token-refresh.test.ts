import { afterEach, beforeEach, describe, expect, it, onTestFinished, vi } from 'vitest'
import type { Client } from '../../client/client.ts'
import { connectOn } from '../../client/endpoint.ts'
import { connect } from '../../client/node.ts'
import { createTokenRefresh } from '../../client/token-refresh.ts'
import { bySecret, startClockedHub } from '../support/authentication.ts'
import { until } from '../support/clients.ts'
import { AGENT, FakePlatform, pass } from '../support/fake-platform.ts'
import { welcomeFrame } from '../support/scripted-hub.ts'
import { tokenFor } from '../support/tokens.ts'

/** `seconds` from the hub's noon. */
const at = (seconds: number): string =>
  new Date(Date.parse('2026-11-21T12:00:00Z') + seconds * 1_000).toISOString()

/** Of a hub that may be silent for long. */
const PATIENT = { intervalMs: 1_000_000, timeoutMs: 1_000_000 }

describe('a token that ends', () => {
  beforeEach(() => {
    vi.useFakeTimers()
  })
  afterEach(async () => {
    // One that went on by the real clock would come back in the next test, over and over.
    for (const client of clients.splice(0)) void client.close()
    await pass(60_000)
    expect(vi.getTimerCount()).toBe(0)
    vi.useRealTimers()
  })
  const clients: Client[] = []

  /** A client whose clock is wrong by an hour, welcomed until noon and `seconds`. */
  async function welcomed(seconds: number) {
    vi.setSystemTime(at(3_600))
    const platform = new FakePlatform()
    const token = vi.fn<() => Promise<string>>()
    let count = 0
    token.mockImplementation(async () => `token-${++count}`)
    const connecting = connectOn(platform, { ...AGENT, token })
    await pass()
    platform.socket.welcome({ time: at(0), expiresAt: at(seconds), heartbeat: PATIENT })
    clients.push(await connecting)
    platform.socket.wrote()
    const sent = () => platform.socket.wrote().filter(({ type }) => type === 'auth')
    return { platform, token, sent }
  }

  it('is replaced in band when 80 % of its life are over, by the hub’s clock, and so is the next one', async () => {
    const { platform, sent } = await welcomed(100)
    await pass(79_000)
    expect(sent()).toEqual([])
    await pass(1_100)
    const [first] = sent()
    expect(first).toMatchObject({ type: 'auth', token: 'token-2', ref: expect.any(String) as string })
    platform.socket.push({ type: 'ok', ref: first?.['ref'], result: { expiresAt: at(180) } })
    await pass(78_000)
    expect(sent()).toEqual([])
    await pass(3_000)
    expect(sent()).toMatchObject([{ token: 'token-3' }])
    expect(platform.sockets).toHaveLength(1)
  })

  it('is tried to be replaced again in what is left, where none can be had or the hub refuses it', async () => {
    const { platform, token, sent } = await welcomed(100)
    token.mockRejectedValueOnce(new Error('no network'))
    await pass(80_100)
    expect(sent()).toEqual([])
    await pass(16_000)
    const [second] = sent()
    expect(second).toMatchObject({ type: 'auth' })
    platform.socket.push({
      type: 'error',
      ref: second?.['ref'],
      error: { code: 'internal', message: 'later', retryable: true, retryAfterMs: null },
    })
    await pass(4_000)
    expect(sent()).toHaveLength(1)
  })

  it('is not replaced once its connection is gone: the next one begins with a fresh one', async () => {
    const { platform, token } = await welcomed(100)
    platform.socket.listener.closed(4003, 'token_expired')
    await pass(1_000)
    expect(token).toHaveBeenCalledTimes(2)
    platform.socket.welcome({ time: at(0), expiresAt: at(1_000), heartbeat: PATIENT })
    platform.socket.wrote()
    await pass(100_000)
    expect(token).toHaveBeenCalledTimes(2)
  })

  it.each([
    [null, 1e10, 0],
    [at(10_000_000), 9.7e9, 0],
    [at(10_000_000), 9.8e9, 1],
  ])(
    'at %j is fetched anew in time, also where that is more than a timer counts',
    async (expiresAt, ms, times) => {
      vi.setSystemTime(at(0))
      const token = vi.fn<() => string>(() => 'fresh')
      const refresh = createTokenRefresh(token, () => undefined)
      refresh.resume(welcomeFrame({ time: at(0), expiresAt }))
      await pass(ms)
      expect(token).toHaveBeenCalledTimes(times)
      refresh.stop()
      expect(vi.getTimerCount()).toBe(0)
    },
  )
})

describe('on a hub', () => {
  it('a connection outlives its tokens, and one whose token could not be replaced comes back with a fresh one', async () => {
    const authenticator = bySecret()
    const authenticated = vi.spyOn(authenticator, 'authenticate')
    await using hub = await startClockedHub(authenticator)
    const lives = [2, 60]
    const token = vi.fn<() => Promise<string>>(() => tokenFor('alice', { expiresIn: lives.shift() ?? 3_600 }))
    const client = await connect({ url: hub.url, name: 'alice', capabilities: ['test'], token })
    onTestFinished(() => client.close())
    await vi.waitFor(() => expect(authenticated).toHaveResolvedTimes(2), { timeout: 4_000 })
    await client.leader()
    // The first one is over, its grace too.
    hub.pass(40_000)
    await client.leader()
    expect(client.state).toMatchObject({ type: 'open', attempt: 0 })
    const waiting = until(client, 'waiting')
    hub.pass(50_000)
    expect(await waiting).toMatchObject({ cause: { code: 4003, final: false } })
    await until(client, 'open')
    expect(client.id).toBe('alice')
  })

  it('a token that is not accepted, and an origin that is not, end the client at once', async () => {
    await using hub = await startClockedHub()
    const joining = connect({ url: hub.url, name: 'alice', capabilities: ['test'], token: 'x' })
    await expect(joining).rejects.toMatchObject({ code: 'unauthorized' })
  })
})
