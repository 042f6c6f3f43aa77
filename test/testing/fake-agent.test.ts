import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest'
import { startTestHub } from '../../src/testing/index.ts'
import { until } from '../support/clients.ts'

beforeEach(() => void vi.spyOn(Math, 'random').mockReturnValue(0))
afterEach(() => void vi.restoreAllMocks())

describe('a fake agent', () => {
  it('records what it gets, in order, and acknowledges it', async () => {
    await using hub = await startTestHub()
    const alice = await hub.connect({ name: 'alice' })
    const bob = await hub.fakeAgent({ name: 'bob', groups: ['eu'] })
    const sent = await alice.send('bob', 1, { type: 'task_result', receipt: true })
    await alice.broadcast(2, { to: { group: 'eu' } })
    expect(await sent.settled).toMatchObject({ status: 'acked', agentId: 'bob' })
    expect(await bob.next()).toMatchObject({ from: 'alice', messageType: 'task_result', payload: 1 })
    expect(await bob.next()).toMatchObject({ via: 'group', payload: 2 })
    expect(bob.received.map(({ payload }) => payload)).toEqual([1, 2])
  })

  it('waits for the next message of a type, and says what came instead', async () => {
    await using hub = await startTestHub()
    const alice = await hub.connect({ name: 'alice' })
    const bob = await hub.fakeAgent({ name: 'bob' })
    const task = bob.next('task')
    await alice.send('bob', 'news')
    await alice.send('bob', 'do it', { type: 'task' })
    expect((await task).payload).toBe('do it')
    await expect(bob.next('query', { timeoutMs: 20 })).rejects.toThrow(
      'fake agent bob got no "query" in 20 ms; what came and was not asked for: notification "news"',
    )
    expect((await bob.next()).payload).toBe('news')
    await expect(bob.next('query', { timeoutMs: 20 })).rejects.toThrow('was not asked for: nothing')
  })

  it('replies with a value, or what a function makes of the message', async () => {
    await using hub = await startTestHub()
    const alice = await hub.connect()
    const bob = await hub.fakeAgent({ name: 'bob' })
    bob.reply('query', { always: 'this' })
    expect((await alice.request('bob', 1)).payload).toEqual({ always: 'this' })
    bob.reply<number>('query', async ({ payload }) => payload * 2)
    expect((await alice.request('bob', 21)).payload).toBe(42)
  })

  it('streams what a generator yields, as fast as it is read', async () => {
    await using hub = await startTestHub()
    const alice = await hub.connect()
    const model = await hub.fakeAgent({ name: 'model' })
    model.reply<string>('query', async function* ({ payload }) {
      for (const word of payload.split(' ')) yield word
    })
    const words: unknown[] = []
    for await (const word of alice.requestStream('model', 'once upon a time', { window: 1 })) words.push(word)
    expect(words).toEqual(['once', 'upon', 'a', 'time'])
  })

  it('stops its generator when the reader has enough, and breaks the stream off when it throws', async () => {
    await using hub = await startTestHub()
    const alice = await hub.connect()
    const model = await hub.fakeAgent({ name: 'model' })
    const stopped = new Promise<void>((resolve) => {
      model.reply('query', async function* () {
        try {
          for (let n = 0; ; n++) yield n
        } finally {
          resolve()
        }
      })
    })
    for await (const n of alice.requestStream('model', 'count')) if (n === 3) break
    await stopped
    model.reply('query', async function* () {
      yield 'half'
      throw new Error('out of words')
    })
    const got: unknown[] = []
    const reading = (async () => {
      for await (const chunk of alice.requestStream('model', 'more')) got.push(chunk)
    })()
    await expect(reading).rejects.toMatchObject({ name: 'StreamError', message: 'out of words' })
    expect(got).toEqual(['half'])
  })

  it('fails as often as it is told to, with the reason, and then does what it did before', async () => {
    await using hub = await startTestHub()
    const alice = await hub.connect()
    const bob = await hub.fakeAgent({ name: 'bob' })
    bob.reply('query', 'at last').fail('query', new Error('busy'), { times: 2 })
    expect((await alice.request('bob', 1)).payload).toBe('at last')
    expect(bob.received.map(({ attempt }) => attempt)).toEqual([1, 2, 3])
    bob.fail('task', 'unreadable', { requeue: false })
    const sent = await alice.send('bob', 2, { type: 'task', receipt: true })
    expect(await sent.settled).toMatchObject({ status: 'dead_lettered', reason: 'unreadable' })
  })

  it('fails where its function throws', async () => {
    await using hub = await startTestHub()
    const alice = await hub.connect()
    const bob = await hub.fakeAgent({ name: 'bob' })
    bob
      .reply('query', () => 'fine')
      .reply(
        'query',
        () => {
          throw new Error('no')
        },
        { times: 1 },
      )
    expect((await alice.request('bob', 1)).payload).toBe('fine')
    expect(bob.received).toHaveLength(2)
  })

  it('that is silent neither answers nor acknowledges, and its work goes to another', async () => {
    await using hub = await startTestHub({ ackTimeoutMs: 200 })
    const alice = await hub.connect()
    const bob = await hub.fakeAgent({ name: 'bob', capabilities: ['draw'] })
    bob.silent('query').silent('task')
    await expect(alice.request('bob', 1, { timeoutMs: 50 })).rejects.toMatchObject({ name: 'TimeoutError' })
    const sent = await alice.send({ capability: 'draw' }, 'a cat', { type: 'task', receipt: true })
    await bob.next('task')
    const carol = await hub.fakeAgent({ name: 'carol', capabilities: ['draw'] })
    expect(await carol.next('task')).toMatchObject({ payload: 'a cat', attempt: 2 })
    expect(await sent.settled).toMatchObject({ status: 'acked', agentId: 'carol' })
  })

  it('does for every type without a script of its own what "*" says', async () => {
    await using hub = await startTestHub()
    const alice = await hub.connect()
    const bob = await hub.fakeAgent({ name: 'bob' })
    bob.reply('query', 'mine').fail('*', 'not for me', { requeue: false })
    const sent = await alice.send('bob', 1, { type: 'task', receipt: true })
    expect(await sent.settled).toMatchObject({ reason: 'not for me' })
    expect((await alice.request('bob', 1)).payload).toBe('mine')
  })

  it('sends and asks, and any other command too', async () => {
    await using hub = await startTestHub()
    const alice = await hub.connect({ name: 'alice' })
    const bob = await hub.fakeAgent({ name: 'bob' })
    alice.onMessage('query', ({ payload }) => ({ echo: payload }))
    expect(await bob.send('alice', 'hi', { type: 'query', correlationId: 'c1' })).toMatchObject({
      recipients: 1,
    })
    expect(await bob.next('response')).toMatchObject({ payload: { echo: 'hi' }, correlationId: 'c1' })
    await bob.command({ type: 'update', status: 'degraded', statusReason: 'GPU lost' })
    expect((await alice.discover({ name: 'bob', status: ['degraded'] })).agents).toHaveLength(1)
    await expect(bob.send('nobody', 1)).rejects.toMatchObject({ code: 'unknown_target' })
  })

  it('that crashes is offline after the grace period; when it comes back it gets what waited', async () => {
    await using hub = await startTestHub()
    const alice = await hub.connect()
    await using watch = alice.watch()
    const bob = await hub.fakeAgent({ name: 'bob' })
    await bob.crash()
    for await (const event of watch)
      if (event.event === 'agent.status_changed' && event.new === 'offline') break
    await alice.send('bob', 'are you there?')
    expect(bob.received).toEqual([])
    await bob.comeBack()
    expect((await bob.next()).payload).toBe('are you there?')
  })

  it('comes back by itself when the hub cuts it or restarts, and records what it had processed once', async () => {
    await using hub = await startTestHub()
    const alice = await hub.connect()
    const bob = await hub.fakeAgent({ name: 'bob' })
    for (const [n, disturb] of [hub.cut, hub.restart, hub.cut].entries()) {
      const left = until(alice, 'waiting')
      await disturb()
      await left
      await alice.send('bob', n)
      expect((await bob.next()).payload).toBe(n)
    }
    expect(bob.received).toHaveLength(3)
  })

  it('is refused with a reason where its name is taken', async () => {
    await using hub = await startTestHub()
    await hub.connect({ name: 'bob' })
    await expect(hub.fakeAgent({ name: 'bob', id: 'other' })).rejects.toMatchObject({ code: 'name_taken' })
  })

  it('says goodbye when it is closed', async () => {
    await using hub = await startTestHub()
    const alice = await hub.connect()
    const bob = await hub.fakeAgent({ name: 'bob' })
    await bob.close()
    await expect(alice.send('bob', 1)).rejects.toMatchObject({ code: 'unknown_target' })
    await expect(bob.send('bob', 1)).rejects.toThrow('fake agent bob is not connected')
  })
})
