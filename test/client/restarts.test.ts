import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest'
import { startTestHub } from '../../src/testing/index.ts'
import { join, until } from '../support/clients.ts'
import { startFaultProxy } from '../support/fault-proxy.ts'

// Reconnecting waits at random; these tests want to see it, not to wait for it.
beforeEach(() => void vi.spyOn(Math, 'random').mockReturnValue(0))
afterEach(() => void vi.restoreAllMocks())

describe('a client whose hub is started anew', () => {
  it('goes on with what was still open after a hub that forgot everything', async () => {
    await using hub = await startTestHub()
    await using proxy = await startFaultProxy(hub.url)
    await using alice = await join(proxy, 'alice')
    const bob = await hub.fakeAgent({ name: 'bob' })
    await alice.send('bob', 'first')
    expect((await bob.next()).payload).toBe('first')
    proxy.decide = (way, frame) => (way === 'toHub' && frame.type === 'send' ? 'lose' : 'pass')
    const open = alice.send('alice', 'kept')
    const got = new Promise((resolve) => alice.onMessage(({ payload }) => resolve(payload)))
    await until(alice, 'waiting')
    proxy.decide = () => 'pass'
    const { hub: before } = bob.welcome
    await hub.restart({ forget: true })
    expect(await open).toMatchObject({ recipients: 1 })
    expect(await got).toBe('kept')
    expect(alice.state).toMatchObject({ type: 'open', resumed: false })
    expect(alice.state).not.toMatchObject({ hub: before })
  })

  it('keeps its registration, its inbox and its sends where the store lived on', async () => {
    await using hub = await startTestHub()
    const alice = await hub.connect({ name: 'alice' })
    const bob = await hub.fakeAgent({ name: 'bob' })
    await bob.crash()
    await alice.send('bob', 'before')
    await hub.stop()
    const meanwhile = [alice.send('bob', 'while'), alice.send('bob', 'it was away')]
    await hub.start()
    await Promise.all(meanwhile)
    await bob.comeBack()
    const got = [await bob.next(), await bob.next(), await bob.next()]
    expect(got.map(({ payload }) => payload)).toEqual(['before', 'while', 'it was away'])
    expect(alice.state).toMatchObject({ type: 'open', resumed: true })
  })
})
