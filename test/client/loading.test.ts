import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest'
import { z } from 'zod'
import type { AgentOptions, Client, ReceivedMessage, StatusEvent } from '../../client/api.ts'
import { connectWith } from '../../client/core.ts'
import { createParts } from '../../client/parts.ts'
import type { CreateParts } from '../../client/parts.ts'
import { createPending } from '../../client/pending.ts'
import type { Pending } from '../../client/pending.ts'
import { AGENT, FakePlatform, pass } from '../support/fake-platform.ts'
import { agentInfo, messageFrame } from '../support/scripted-hub.ts'

/** A client whose parts come when the test has them come. */
async function apart(options: Partial<AgentOptions> = {}) {
  const platform = new FakePlatform()
  const fetches: Pending<CreateParts>[] = []
  const connecting = connectWith(platform, { ...AGENT, ...options }, () => {
    const fetch = createPending<CreateParts>()
    fetches.push(fetch)
    return fetch.promise
  })
  await pass()
  expect(fetches).toEqual([])
  platform.socket.welcome()
  await pass()
  platform.socket.wrote()
  return {
    platform,
    fetches,
    connecting,
    push: (...frames: object[]) => platform.socket.push(...frames),
    async wrote() {
      await pass()
      return platform.socket.wrote()
    },
    async arrive() {
      fetches.at(-1)?.resolve(createParts)
      await pass()
    },
  }
}

/** The client, welcomed before its parts are there. */
async function early(options: Partial<AgentOptions> = {}) {
  const stage = await apart(options)
  return { ...stage, client: await stage.connecting }
}

const LIST = {
  subscription: 'w1',
  revision: 7,
  agents: [agentInfo({ id: 'a2' })],
  last: true,
  leader: { agentId: 'a2', term: 3 },
  reset: false,
}

describe('before its parts are there, a client', () => {
  beforeEach(() => {
    vi.useFakeTimers()
    vi.spyOn(Math, 'random').mockReturnValue(1)
  })
  afterEach(() => {
    vi.useRealTimers()
    vi.restoreAllMocks()
  })

  it('fetches them once, when the first session is open', async () => {
    const { platform, fetches, arrive } = await early()
    expect(fetches.length).toBe(1)
    platform.socket.listener.closed(1006, '')
    await pass(1000)
    platform.socket.welcome()
    expect(fetches.length).toBe(1)
    await arrive()
    await pass(60_000)
    expect(fetches.length).toBe(1)
  })

  it('sends, asks and finds', async () => {
    const { client, push, wrote, arrive } = await early()
    const sent = client.send('a2', 1)
    const found = client.discover()
    const asked = client.request('a2', 'how?')
    const [send, discover, query] = await wrote()
    push({ type: 'ok', ref: send?.['ref'], result: { id: 'm1', recipients: 1 } })
    push({ type: 'ok', ref: discover?.['ref'], result: { agents: [], cursor: null } })
    push({ type: 'ok', ref: query?.['ref'], result: { id: 'm2', recipients: 1 } })
    const reply = { messageType: 'response', correlationId: query?.['correlationId'], payload: 'so' }
    push(messageFrame('r1', reply))
    expect(await sent).toEqual({ id: 'm1', recipients: 1 })
    expect(await found).toEqual({ agents: [], cursor: null })
    expect(await asked).toMatchObject({ payload: 'so' })
    expect(await wrote()).toEqual([{ type: 'ack', ids: ['r1'] }])
    push(messageFrame('r1', reply))
    await arrive()
    expect(await wrote()).toEqual([{ type: 'ack', ids: ['r1'] }])
  })

  it('keeps what comes for its handlers, in order', async () => {
    const { client, push, wrote, arrive } = await early()
    const got: unknown[] = []
    client.onMessage(({ payload }) => got.push(payload))
    const remove = client.onMessage('query', () => got.push('never'))
    expect(() => client.onMessage(() => 1)).toThrow(TypeError)
    expect(() => client.onMessage('other', () => 1, { timeoutMs: 0 })).toThrow(RangeError)
    push(messageFrame('m1'), messageFrame('m2'), messageFrame('m2'))
    push(messageFrame('m3', { transient: true }))
    remove()
    expect([got, await wrote()]).toEqual([[], []])
    await arrive()
    await pass()
    expect(got).toEqual(['m1', 'm2', 'm3'])
    expect((await wrote()).flatMap(({ ids }) => ids)).toEqual(['m1', 'm2'])
    push(messageFrame('m4', { messageType: 'query' }))
    await pass()
    expect(got.at(-1)).toBe('m4')
  })

  it('has handlers that can be removed later', async () => {
    const { client, push, arrive } = await early()
    const got: unknown[] = []
    const remove = client.onMessage(({ payload }) => got.push(payload))
    const removeTaker = client.onStream(() => undefined)
    expect(() => client.onStream(() => 1)).toThrow('there is a handler for streams already')
    await arrive()
    expect(() => client.onStream(() => 1)).toThrow('there is a handler for streams already')
    remove()
    removeTaker()
    client.onStream(() => 1)
    push(messageFrame('m1'))
    await pass()
    expect(got).toEqual([])
  })

  it('keeps no more of transient messages than its window holds', async () => {
    const { client, push, arrive } = await early({ window: 2 })
    const got: unknown[] = []
    client.onMessage(({ payload }) => got.push(payload))
    for (const id of ['m1', 'm2', 'm3']) push({ type: 'ping' }, messageFrame(id, { transient: true }))
    await arrive()
    expect(got).toEqual(['m1', 'm2'])
  })

  it('lets go of what came by a connection that is gone: it comes again', async () => {
    const { client, platform, push, wrote, arrive } = await early()
    const got: unknown[] = []
    client.onMessage(({ payload, id }: ReceivedMessage) => got.push([id, payload]))
    push(messageFrame('m1'), { type: 'stream.open', stream: 's1', from: 'a2', correlationId: null })
    platform.socket.listener.closed(1006, '')
    await pass(1000)
    platform.socket.welcome()
    await wrote()
    push(messageFrame('m1', { payload: 'again' }))
    await arrive()
    expect(got).toEqual([['m1', 'again']])
    expect(await wrote()).toEqual([{ type: 'ack', ids: ['m1'] }])
  })

  it('has a watch, which is filled when they are', async () => {
    const { client, push, wrote, arrive } = await early()
    const watch = client.watch()
    expect([watch.agents.size, watch.revision, watch.leader.term]).toEqual([0, null, 0])
    const first = watch.next()
    const { ready } = watch
    expect(await wrote()).toEqual([])
    await arrive()
    const [subscribe] = await wrote()
    push({ type: 'ok', ref: subscribe?.['ref'], result: LIST })
    await ready
    expect(await first).toMatchObject({ done: false, value: { event: 'list', reason: 'first' } })
    expect([[...watch.agents.keys()], watch.revision, watch.leader.term]).toEqual([['a2'], 7, 3])
    watch.close()
    expect(await watch.next()).toMatchObject({ done: true })
    expect(await wrote()).toMatchObject([{ type: 'unsubscribe', subscription: 'w1' }])
  })

  it('ends a watch that is left, whether they are there or not', async () => {
    const { client, push, wrote, arrive } = await early()
    const left = client.watch()
    const next = left.next()
    left.close()
    expect(await next).toMatchObject({ done: true })
    await expect(left.ready).rejects.toMatchObject({ code: 'closed' })
    {
      await using watch = client.watch()
      await arrive()
      const [subscribe, ...others] = await wrote()
      expect(others).toEqual([])
      push({ type: 'ok', ref: subscribe?.['ref'], result: LIST })
      await watch.ready
    }
    expect(await wrote()).toMatchObject([{ type: 'unsubscribe', subscription: 'w1' }])
  })

  it('asks at once for what is streamed to it later', async () => {
    const { client, push, wrote, arrive } = await early()
    const stream = client.requestStream('a2', 'tell')
    const payloads: unknown[] = []
    const reading = (async () => {
      for await (const payload of stream) payloads.push(payload)
    })()
    const [query] = await wrote()
    expect(query).toMatchObject({ payload: 'tell', correlationId: stream.correlationId })
    push({ type: 'ok', ref: query?.['ref'], result: { id: 'm1', recipients: 1 } })
    push({ type: 'stream.open', stream: 's1', from: 'a2', correlationId: stream.correlationId })
    expect([stream.from, await wrote()]).toEqual([null, []])
    await arrive()
    expect(stream.from).toBe('a2')
    expect(await wrote()).toEqual([{ type: 'stream.credit', stream: 's1', credit: 64 }])
    push({ type: 'stream.chunk', stream: 's1', seq: 0, payload: 'a' })
    push({ type: 'stream.chunk', stream: 's1', seq: 1, payload: 'b' })
    push({ type: 'stream.end', stream: 's1', seq: 1, error: null })
    await reading
    expect(payloads).toEqual(['a', 'b'])
  })

  it('ends a streamed answer within its own limits', async () => {
    const { client, push, wrote, arrive } = await early()
    expect(() => client.requestStream('a2', 1, { window: 0 })).toThrow('window 0')
    const abort = new AbortController()
    const late = client.requestStream('a2', 1, { timeoutMs: 50 })
    const aborted = client.requestStream('a2', 2, { signal: abort.signal })
    const left = client.requestStream('a2', 3)
    const refused = client.requestStream('nobody', 4)
    const failures = [late, aborted, refused].map((stream) => stream.next().catch((error: unknown) => error))
    const end = left.next()
    left.cancel()
    abort.abort()
    const queries = await wrote()
    expect(queries.map(({ payload }) => payload)).toEqual([1, 2, 3, 4])
    const error = {
      code: 'unknown_target',
      message: 'nobody is not there',
      retryable: false,
      retryAfterMs: null,
    }
    push({ type: 'error', ref: queries[3]?.['ref'], error })
    await pass(50)
    expect(await Promise.all(failures)).toMatchObject([
      { name: 'TimeoutError', code: 'timeout', retryable: true, remedy: expect.stringContaining('again') },
      { name: 'AbortError' },
      { code: 'unknown_target' },
    ])
    expect(await end).toMatchObject({ done: true })
    await arrive()
    expect(await wrote()).toEqual([])
  })

  it('opens a stream when they are there', async () => {
    const { client, push, wrote, arrive } = await early()
    const opening = client.openStream('a2')
    expect(await wrote()).toEqual([])
    await arrive()
    const [open] = await wrote()
    expect(open).toMatchObject({ type: 'stream.open', to: { agent: 'a2' } })
    push({ type: 'ok', ref: open?.['ref'], result: {} })
    const writer = await opening
    push({ type: 'stream.credit', stream: open?.['stream'], credit: 1 })
    await writer.write('a')
    expect(await wrote()).toMatchObject([{ type: 'stream.chunk', seq: 0, payload: 'a' }])
  })

  it('keeps receipts for the sends that wait for them', async () => {
    const events: StatusEvent[] = []
    const { client, push, wrote, arrive } = await early({ onStatus: (event) => events.push(event) })
    const sending = client.send('a2', 1, { receipt: true })
    const [send] = await wrote()
    push({ type: 'ok', ref: send?.['ref'], result: { id: 'm1', recipients: 1 } })
    push({ type: 'receipt', receiptId: 'r1', id: 'm1', status: 'acked', agentId: 'a2' })
    expect(await wrote()).toEqual([])
    await arrive()
    const { settled } = await sending
    expect(await settled).toMatchObject({ status: 'acked' })
    expect(await wrote()).toEqual([{ type: 'ack', ids: ['r1'] }])
    expect(events.map(({ type }) => type)).not.toContain('receipt')
  })

  it('is not connected for its caller where it has schemas', async () => {
    const stage = await apart({ schemas: { hi: z.string() } })
    let client: Client | undefined
    void stage.connecting.then((connected) => (client = connected))
    stage.push(messageFrame('m1', { messageType: 'hi', payload: 1 }))
    await pass()
    expect(client).toBeUndefined()
    await stage.arrive()
    const handled = vi.fn<() => void>()
    client?.onMessage('hi', handled)
    await pass()
    expect(handled).not.toHaveBeenCalled()
    expect(await stage.wrote()).toMatchObject([{ type: 'nack', id: 'm1', requeue: false }])
    await expect(client?.send('a2', 1, { type: 'hi' })).rejects.toMatchObject({ code: 'bad_frame' })
  })

  it('can be called off where it has schemas', async () => {
    const abort = new AbortController()
    const { connecting, fetches } = await apart({ schemas: { hi: z.string() }, signal: abort.signal })
    abort.abort()
    await expect(connecting).rejects.toMatchObject({ name: 'AbortError' })
    fetches[0]?.fail(new Error('no network'))
    await pass(100_000)
    expect([fetches.length, vi.getTimerCount()]).toEqual([1, 0])
  })

  it('fetches them again where that failed: ever more seldom, and in each new session', async () => {
    const { client, platform, fetches, arrive } = await early()
    const stream = client.requestStream('a2', 1, { timeoutMs: 100_000 })
    fetches[0]?.fail(new Error('no network'))
    await pass(999)
    expect(fetches.length).toBe(1)
    await pass(1)
    expect(fetches.length).toBe(2)
    fetches[1]?.fail(new Error('no network'))
    await pass(2249)
    expect(fetches.length).toBe(2)
    await pass(1)
    expect(fetches.length).toBe(3)
    fetches[2]?.fail(new Error('no network'))
    await pass()
    platform.socket.listener.closed(1006, '')
    await pass(1000)
    platform.socket.welcome()
    expect(fetches.length).toBe(4)
    await arrive()
    expect(stream.correlationId).not.toBeNull()
    await pass(60_000)
    expect(fetches.length).toBe(4)
  })

  it('ends at once, and everything that waits for them with it', async () => {
    const { client, platform, fetches } = await early()
    const watch = client.watch()
    const failures = Promise.all(
      [watch.ready, watch.next(), client.openStream('a2'), client.requestStream('a2', 1).next()].map(
        (waiting: Promise<unknown>) => waiting.catch((error: unknown) => error),
      ),
    )
    await pass()
    platform.socket.listener.closed(4410, 'unregistered')
    await client.closed
    expect(await failures).toMatchObject(Array.from({ length: 4 }, () => ({ code: 'not_registered' })))
    await expect(client.watch().ready).rejects.toMatchObject({ code: 'not_registered' })
    fetches[0]?.resolve(createParts)
    await pass(100_000)
    expect([fetches.length, vi.getTimerCount()]).toEqual([1, 0])
  })

  it('ends a watch without an error where it is closed', async () => {
    const { client, platform } = await early({ closeTimeoutMs: 1000 })
    const next = client.watch().next()
    const closing = client.close()
    await pass(1000)
    platform.socket.listener.closed(1000, '')
    await closing
    expect(await next).toMatchObject({ done: true })
    await expect(client.watch().next()).rejects.toMatchObject({ code: 'closed' })
    await expect(client.openStream('a2')).rejects.toMatchObject({ code: 'closed' })
  })

  it('starts no handlers that come while it closes', async () => {
    const { client, platform, push, arrive } = await early({ closeTimeoutMs: 1000 })
    const handler = vi.fn<() => void>()
    client.onMessage(handler)
    void client.send('a2', 1)
    push(messageFrame('m1'))
    const closing = client.close()
    await arrive()
    expect(handler).not.toHaveBeenCalled()
    await pass(2000)
    platform.socket.listener.closed(1000, '')
    await pass(2000)
    await closing
  })
})
