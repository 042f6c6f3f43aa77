import { afterEach, beforeEach, describe, expect, expectTypeOf, it, vi } from 'vitest'
import { z } from 'zod'
import type { Exchange } from '../../client/api.ts'
import { startTestHub } from '../../src/testing/index.ts'
import { until } from '../support/clients.ts'

// Reconnecting waits at random; these tests want to see it, not to wait for it.
beforeEach(() => void vi.spyOn(Math, 'random').mockReturnValue(0))
afterEach(() => void vi.restoreAllMocks())

describe('a test hub', () => {
  it('has clients with names and ids of their own, which can talk at once', async () => {
    await using hub = await startTestHub()
    const alice = await hub.connect({ name: 'alice' })
    const other = await hub.connect()
    alice.onMessage<number>('query', ({ payload }) => payload + 1)
    expect((await other.request<number>('alice', 41)).payload).toBe(42)
    expect([alice.id, other.agent]).toMatchObject(['alice', { name: 'client-1', capabilities: ['test'] }])
  })

  it('has observers too', async () => {
    await using hub = await startTestHub()
    await hub.connect({ name: 'alice' })
    const observer = await hub.connect({ observer: true })
    expect((await observer.discover()).agents.map(({ name }) => name)).toEqual(['alice'])
  })

  it('closes its clients with itself', async () => {
    const hub = await startTestHub()
    const alice = await hub.connect()
    const bob = await hub.connect()
    // A handler that hangs and a request without an answer hold nothing up.
    bob.onMessage(() => new Promise<void>(() => undefined))
    const asked = alice.request(String(bob.id), 1).catch((error: Error) => error.name)
    await hub.close()
    expect([alice.state.type, bob.state.type, await asked]).toEqual(['closed', 'closed', 'AbortError'])
    await expect(hub.connect()).rejects.toThrow('closed')
  })

  it('gives up a client that was still connecting when it closes', async () => {
    const hub = await startTestHub()
    await hub.stop()
    const connecting = hub.connect().catch((error: Error) => error.name)
    await hub.close()
    expect(await connecting).toBe('AbortError')
  })

  it('cuts every connection, and its clients come back', async () => {
    await using hub = await startTestHub()
    const alice = await hub.connect({ name: 'alice' })
    const bob = await hub.connect({ name: 'bob' })
    const back = Promise.all(
      [alice, bob].map((client) => until(client, 'waiting').then(() => until(client, 'open'))),
    )
    expect(hub.cut()).toBe(2)
    for (const { resumed } of await back) expect(resumed).toBe(true)
  })

  it('is away while it is stopped, and is back at the same url with all it had stored', async () => {
    await using hub = await startTestHub()
    const { url } = hub
    const alice = await hub.connect({ name: 'alice' })
    const bob = await hub.connect({ name: 'bob' })
    await bob.close()
    await alice.send('bob', 'before')
    await hub.stop()
    const waiting = alice.send('bob', 'meanwhile')
    await hub.start()
    await waiting
    const again = await hub.connect({ name: 'bob' })
    const got: unknown[] = []
    await new Promise<void>((resolve) => {
      again.onMessage(({ payload }) => {
        if (got.push(payload) === 2) resolve()
      })
    })
    expect([hub.url, got]).toEqual([url, ['before', 'meanwhile']])
  })

  it('forgets everything where a restart says so', async () => {
    await using hub = await startTestHub()
    const alice = await hub.connect({ name: 'alice' })
    await (await hub.connect({ name: 'bob' })).close()
    const left = until(alice, 'waiting')
    await hub.restart({ forget: true })
    await left
    expect(await until(alice, 'open')).toMatchObject({ resumed: false })
    await expect(alice.send('bob', 1)).rejects.toMatchObject({ code: 'unknown_target' })
  })

  it('has short times, which settings change', async () => {
    await using hub = await startTestHub()
    await using patient = await startTestHub({ ackTimeoutMs: 60_000 })
    const limits = async (one: typeof hub): Promise<unknown> => {
      const agent = await one.fakeAgent()
      return [agent.welcome.heartbeat, agent.welcome.limits.ackTimeoutMs]
    }
    expect(await limits(hub)).toEqual([{ intervalMs: 2000, timeoutMs: 1000 }, 2000])
    expect(await limits(patient)).toEqual([{ intervalMs: 2000, timeoutMs: 1000 }, 60_000])
  })

  it('refuses settings against a rule', async () => {
    await expect(startTestHub({ graceMs: -1 })).rejects.toMatchObject({ name: 'ConfigError' })
  })

  it('connects clients whose messages have types, by a map or by schemas', async () => {
    await using hub = await startTestHub()
    const worker = await hub.connect<{ double: Exchange<number, number> }>({ name: 'worker' })
    worker.onMessage('double', ({ payload }) => payload * 2)
    const asker = await hub.connect({ schemas: { double: { payload: z.number(), reply: z.number() } } })
    const { payload } = await asker.request('worker', 21, { type: 'double' })
    expectTypeOf(payload).toEqualTypeOf<number>()
    expect(payload).toBe(42)
    // @ts-expect-error: a number is asked for, and the schema says so too
    await expect(asker.request('worker', 'x', { type: 'double' })).rejects.toMatchObject({
      code: 'bad_frame',
    })
  })
})
