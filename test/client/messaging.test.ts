import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest'
import { connect } from '../../client/node.ts'
import { messageFrame, startScriptedHub, welcomeFrame } from '../support/scripted-hub.ts'

function gate(): { readonly opened: Promise<void>; open(): void } {
  let open = (): void => undefined
  const opened = new Promise<void>((resolve) => (open = resolve))
  return { opened, open: () => open() }
}

describe('messages over a real socket', () => {
  beforeEach(() => void vi.spyOn(Math, 'random').mockReturnValue(0))
  afterEach(() => void vi.restoreAllMocks())

  it('a client offers the subprotocol and carries its token in a header, not in hello', async () => {
    await using hub = await startScriptedHub()
    const connecting = connect({
      url: hub.url,
      name: 'tester',
      capabilities: ['nlp'],
      token: async () => 'secret',
      closeTimeoutMs: 20,
    })
    const socket = await hub.accept()
    expect(socket.request.headers).toMatchObject({
      authorization: 'Bearer secret',
      'sec-websocket-protocol': 'meshwire.v1',
    })
    expect(socket.request.url).toBe('/mesh')
    expect(await socket.welcome()).not.toHaveProperty('token')
    await using client = await connecting
    expect(client.state.type).toBe('open')
  })

  it('what is sent in one turn goes out in one WebSocket message', async () => {
    await using hub = await startScriptedHub()
    const [client, socket] = await hub.join()
    for (let n = 1; n <= 3; n++) void client.send('a2', n)
    for (let n = 1; n <= 3; n++) expect(await socket.next('send')).toMatchObject({ seq: n, payload: n })
    expect(socket.texts.length).toBe(2)
  })

  it('a send is answered with what the hub stored, or rejected with its reason', async () => {
    await using hub = await startScriptedHub()
    const [client, socket] = await hub.join()
    const stored = client.send({ name: 'bob' }, { q: 1 })
    const frame = await socket.next('send')
    expect(frame).toMatchObject({ to: { name: 'bob' }, messageType: 'notification', payload: { q: 1 } })
    socket.ok(frame, { id: 'm1', recipients: 1 })
    expect(await stored).toEqual({ id: 'm1', recipients: 1 })

    const refused = client.send('nobody', 1)
    const failed = client.status()
    socket.error(await socket.next('send'), 'unknown_target')
    await expect(refused).rejects.toMatchObject({
      name: 'MeshError',
      code: 'unknown_target',
      retryable: false,
    })
    expect((await failed.next()).value).toMatchObject({ type: 'open' })
    expect((await failed.next()).value).toMatchObject({
      type: 'send_failed',
      error: { code: 'unknown_target' },
    })
  })

  it('a broadcast goes to all, a group, or everybody with a capability', async () => {
    await using hub = await startScriptedHub()
    const [client, socket] = await hub.join()
    void client.broadcast(1)
    void client.broadcast(2, { to: { group: 'eu' }, echo: true })
    void client.broadcast(3, { to: { capability: 'nlp' }, type: 'graph_sync' })
    expect(await socket.next('send')).toMatchObject({ to: { all: true } })
    expect(await socket.next('send')).toMatchObject({ to: { group: 'eu' }, echo: true })
    expect(await socket.next('send')).toMatchObject({
      to: { capability: 'nlp', mode: 'all' },
      messageType: 'graph_sync',
    })
  })

  it('a send whose answer is lost is sent again with its seq after the cut, and stored once', async () => {
    await using hub = await startScriptedHub()
    const [client, first] = await hub.join()
    const sends = [client.send('a2', 'one'), client.send('a2', 'two')]
    const one = await first.next('send')
    await first.next('send')
    first.ok(one, { id: 'm1', recipients: 1 })
    await sends[0]
    first.cut()
    const second = await hub.accept()
    const hello = await second.welcome()
    const again = await second.next('send')
    expect(again).toMatchObject({ seq: 2, payload: 'two' })
    expect(hello).toMatchObject({ session: 'session-1', agent: { id: 'a1' } })
    second.ok(again, { id: 'm2', recipients: 1, duplicate: true })
    expect(await sends[1]).toEqual({ id: 'm2', recipients: 1, duplicate: true })
  })

  it('a doubled answer changes nothing', async () => {
    await using hub = await startScriptedHub()
    const [client, socket] = await hub.join()
    const send = client.send('a2', 1)
    const frame = await socket.next('send')
    socket.ok(frame, { id: 'm1', recipients: 1 })
    socket.ok(frame, { id: 'other', recipients: 9 })
    expect((await send).id).toBe('m1')
    const next = client.send('a2', 2)
    socket.ok(await socket.next('send'), { id: 'm2', recipients: 1 })
    expect((await next).id).toBe('m2')
  })

  it('a request is a query with a fresh correlation id, resolved by its response, which is acknowledged', async () => {
    await using hub = await startScriptedHub()
    const [client, socket] = await hub.join()
    const request = client.request<{ a: number }>('a2', { q: 1 }, { timeoutMs: 4000 })
    const query = await socket.next('send')
    expect(query).toMatchObject({ messageType: 'query', correlationId: expect.any(String), ttlMs: 4000 })
    const { correlationId } = query
    socket.send(messageFrame('r1', { messageType: 'response', correlationId, payload: { a: 2 } }))
    expect((await request).payload.a).toBe(2)
    expect(await socket.next('ack')).toEqual({ type: 'ack', ids: ['r1'] })
    socket.ok(query, { id: 'm1', recipients: 1 })
  })

  it('requests in one turn get their own replies, in whatever order these come', async () => {
    await using hub = await startScriptedHub()
    const [client, socket] = await hub.join()
    const requests = [1, 2, 3].map((n) => client.request<number>('a2', n))
    const queries = [await socket.next('send'), await socket.next('send'), await socket.next('send')]
    for (const { correlationId, payload } of queries.toReversed()) {
      socket.send(messageFrame(`r${String(payload)}`, { messageType: 'response', correlationId, payload }))
    }
    expect((await Promise.all(requests)).map(({ payload }) => payload)).toEqual([1, 2, 3])
  })

  it('a request without a reply ends by its timeout or signal; the late reply is acknowledged and told', async () => {
    await using hub = await startScriptedHub()
    const [client, socket] = await hub.join()
    await expect(client.request('a2', 1, { timeoutMs: 20 })).rejects.toMatchObject({ name: 'TimeoutError' })
    const { correlationId } = await socket.next('send')
    const status = client.status()
    socket.send(messageFrame('r1', { messageType: 'response', correlationId }))
    expect(await socket.next('ack')).toEqual({ type: 'ack', ids: ['r1'] })
    await status.next()
    expect((await status.next()).value).toMatchObject({ type: 'late_reply', message: { id: 'r1' } })

    const abort = new AbortController()
    const request = client.request('a2', 2, { signal: abort.signal })
    await socket.next('send')
    abort.abort(new Error('not needed'))
    await expect(request).rejects.toThrow('not needed')
  })

  it('a response that comes in one go with the first welcome reaches a handler that is set when `connect` resolves', async () => {
    await using hub = await startScriptedHub()
    const connecting = connect({ url: hub.url, name: 'tester', capabilities: ['nlp'], closeTimeoutMs: 20 })
    const socket = await hub.accept()
    const { ref } = await socket.next('hello')
    socket.send(
      welcomeFrame({ ref: ref as string }),
      messageFrame('r1', { messageType: 'response', correlationId: 'of a life before', payload: 1 }),
      messageFrame('r2', { messageType: 'response', correlationId: 'of a life before', payload: 2 }),
    )
    await using client = await connecting
    const payloads: unknown[] = []
    client.onMessage('response', ({ payload }) => void payloads.push(payload))
    expect((await socket.next('ack'))['ids']).toContain('r1')
    await expect.poll(() => payloads).toEqual([1, 2])
  })

  it('a request that the hub refuses is rejected with the reason', async () => {
    await using hub = await startScriptedHub()
    const [client, socket] = await hub.join()
    const request = client.request({ leader: true }, 1)
    socket.error(await socket.next('send'), 'no_leader', true)
    await expect(request).rejects.toMatchObject({ code: 'no_leader' })
  })

  it('a request that was called off before it could be written is never sent', async () => {
    await using hub = await startScriptedHub()
    const [client, first] = await hub.join()
    first.cut()
    const second = await hub.accept()
    const late = client.request('a2', 'late', { signal: AbortSignal.timeout(10) })
    await expect(late).rejects.toMatchObject({ name: 'TimeoutError' })
    await second.welcome()
    void client.send('a2', 'next')
    expect(await second.next('send')).toMatchObject({ seq: 1, payload: 'next' })
  })

  it('a handler may await a request though the window is full of messages before it', async () => {
    await using hub = await startScriptedHub()
    const [client, socket] = await hub.join({ window: 1 })
    const answers: unknown[] = []
    client.onMessage(async ({ payload }) => {
      const reply = await client.request('a3', payload)
      answers.push(reply.payload)
    })
    socket.send(messageFrame('m1'))
    const { correlationId } = await socket.next('send')
    socket.send(messageFrame('r1', { messageType: 'response', correlationId, payload: 'answer' }))
    expect(await socket.next('ack')).toEqual({ type: 'ack', ids: ['r1', 'm1'] })
    expect(answers).toEqual(['answer'])
  })

  it('a query is answered by what the handler returns, in the name of its correlation id and trace', async () => {
    await using hub = await startScriptedHub()
    const [client, socket] = await hub.join()
    client.onMessage<number>('query', ({ payload }) => payload + 1)
    socket.send(
      messageFrame('m1', { messageType: 'query', correlationId: 'c1', traceparent: '00-1', payload: 1 }),
    )
    const reply = await socket.next('send')
    expect(reply).toMatchObject({
      to: { agent: 'a2' },
      messageType: 'response',
      correlationId: 'c1',
      traceparent: '00-1',
      payload: 2,
    })
    await socket.settled()
    expect(socket.unread).toEqual([])
    socket.ok(reply, { id: 'm2', recipients: 1 })
    expect(await socket.next('ack')).toEqual({ type: 'ack', ids: ['m1'] })
  })

  it('a message that comes again on the next session reaches the handler once', async () => {
    await using hub = await startScriptedHub()
    const [client, first] = await hub.join()
    const seen: string[] = []
    const { opened, open } = gate()
    client.onMessage(async ({ id }) => {
      seen.push(id)
      if (id === 'm2') await opened
    })
    first.send(messageFrame('m1'), messageFrame('m2'))
    expect(await first.next('ack')).toEqual({ type: 'ack', ids: ['m1'] })
    first.cut()
    const second = await hub.accept()
    await second.welcome()
    second.send(messageFrame('m1', { attempt: 2 }), messageFrame('m2', { attempt: 2 }), messageFrame('m3'))
    expect(await second.next('ack')).toEqual({ type: 'ack', ids: ['m1'] })
    open()
    const acked: unknown[] = []
    while (acked.length < 2) acked.push(...((await second.next('ack'))['ids'] as string[]))
    expect(acked).toEqual(['m2', 'm3'])
    expect(seen).toEqual(['m1', 'm2', 'm3'])
  })
})

describe('closing', () => {
  it('finishes handlers, sends what they send, waits for answers, acknowledges, then says bye', async () => {
    await using hub = await startScriptedHub()
    const [client, socket] = await hub.join({ closeTimeoutMs: 5000 })
    const { opened, open } = gate()
    const seen: string[] = []
    client.onMessage(async (message) => {
      seen.push(message.id)
      await opened
      void message.reply('done')
    })
    socket.send(messageFrame('m1', { correlationId: 'c1' }), messageFrame('m2'))
    await socket.settled()
    const closing = client.close()
    expect(client.state.type).toBe('draining')
    open()
    const reply = await socket.next('send')
    expect(await socket.next('ack')).toEqual({ type: 'ack', ids: ['m1'] })
    await socket.settled()
    expect(socket.unread).toEqual([])
    socket.ok(reply, { id: 'm3', recipients: 1 })
    const bye = await socket.next('bye')
    expect(bye).toMatchObject({ keep: true })
    socket.ok(bye)
    socket.close(1000)
    await closing
    expect([await client.closed, seen, (await socket.closed).code]).toEqual([null, ['m1'], 1000])
  })

  it('with unregister says bye without keep', async () => {
    await using hub = await startScriptedHub()
    const [client, socket] = await hub.join({ closeTimeoutMs: 5000 })
    const closing = client.close({ unregister: true })
    const bye = await socket.next('bye')
    expect(bye['keep']).toBe(false)
    socket.ok(bye)
    await closing
    expect((await socket.closed).code).toBe(1000)
  })

  it('does not wait longer than closeTimeoutMs, and rejects what is left', async () => {
    await using hub = await startScriptedHub()
    const [client, socket] = await hub.join({ closeTimeoutMs: 50 })
    let signal: AbortSignal | undefined
    client.onMessage((_message, context) => {
      signal = context.signal
      return new Promise(() => {})
    })
    socket.send(messageFrame('m1'))
    await socket.settled()
    const send = client.send('a2', 1)
    const request = client.request('a2', 2)
    await client.close()
    await expect(send).rejects.toMatchObject({ name: 'AbortError' })
    await expect(request).rejects.toMatchObject({ name: 'AbortError' })
    expect(signal?.aborted).toBe(true)
    expect(client.state).toEqual({ type: 'closed', error: null })
  })

  it('does not wait for the answer to bye when the connection ends', async () => {
    await using hub = await startScriptedHub()
    const [client, socket] = await hub.join({ closeTimeoutMs: 60_000 })
    const closing = client.close()
    await socket.next('bye')
    socket.cut()
    await closing
    expect(client.state).toEqual({ type: 'closed', error: null })
  })

  it('while disconnected still delivers what was sent, if the hub comes back in time', async () => {
    vi.spyOn(Math, 'random').mockReturnValue(0)
    await using hub = await startScriptedHub()
    const [client, first] = await hub.join({ closeTimeoutMs: 5000 })
    first.cut()
    const second = await hub.accept()
    const send = client.send('a2', 'last words')
    const closing = client.close()
    await second.welcome()
    second.ok(await second.next('send'), { id: 'm1', recipients: 1 })
    second.ok(await second.next('bye'))
    await closing
    expect((await send).id).toBe('m1')
    vi.restoreAllMocks()
  })

  it('while disconnected with nothing to deliver ends at once', async () => {
    await using hub = await startScriptedHub()
    const [client, socket] = await hub.join({ closeTimeoutMs: 60_000 })
    const left = (async () => {
      for await (const { type } of client.status()) if (type === 'waiting') return
    })()
    socket.cut()
    await left
    await client.close()
    await client.close()
    expect(client.state).toEqual({ type: 'closed', error: null })
  })
})
