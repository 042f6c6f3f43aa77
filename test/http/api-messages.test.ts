import { describe, expect, test } from 'vitest'
import type { DeadLettersListResult, SendResult } from '../../protocol/replies.ts'
import type { InboxInfo, QueuesPage } from '../../src/hub/operations.ts'
import { Api, json } from '../support/api.ts'
import { MeshClient } from '../support/spec-ai.ts'
import {
  ack,
  asker,
  join,
  nack,
  NLP,
  numbers,
  PLACES,
  read,
  reconnect,
  send,
  sendAll,
  startSpan,
  watchDead,
} from '../support/talk.ts'

const post = (api: Api, to: object, payload: unknown, more: object = {}): Promise<SendResult> =>
  api.post<SendResult>('/messages', { to, messageType: 'notification', payload, ...more })

describe.each(PLACES)('messages by the operations API, on %s with %i hub(s)', (core, hubs) => {
  test('reach an agent by id, by name, and as the leader, in order', async () => {
    await using mesh = await startSpan(core, hubs)
    const api = new Api(mesh.far)
    await using alice = await join(mesh.near, 'alice')
    for (const [index, to] of [{ agent: 'alice' }, { name: 'alice-name' }, { leader: true }].entries())
      expect(await post(api, to, index)).toEqual({ id: expect.any(String), recipients: 1 })
    const first = await alice.next('message')
    expect(first).toMatchObject({
      from: 'http',
      via: 'direct',
      messageType: 'notification',
      payload: 0,
      attempt: 1,
    })
    expect(await read(alice, 2)).toEqual([1, 2])
  })

  test('are kept for who is away, and are of that message alone', async () => {
    await using mesh = await startSpan(core, hubs)
    const api = new Api(mesh.far)
    const alice = await join(mesh.near, 'alice')
    await alice.request({ type: 'bye', keep: true })
    const more = {
      messageType: 'query',
      correlationId: 'c1',
      ttlMs: 60_000,
      from: 'deploy bot',
      traceparent: '00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01',
    }
    const payload = { ['__proto__']: { x: 1 }, text: 'a\nb\u2028', deep: [[[]]] }
    const body = { to: { agent: 'alice' }, payload, ...more }
    const { id } = (await api.request<SendResult>('POST', '/messages', json(body))).json
    await using again = await reconnect(mesh.far, alice)
    const { ttlMs: _, ...told } = more
    const message = await again.next('message')
    expect(message).toMatchObject({ ...told, id, expiresAt: expect.any(String) })
    expect(JSON.stringify(message.payload)).toBe('{"__proto__":{"x":1},"text":"a\\nb\u2028","deep":[[[]]]}')
  })

  test('are work for one agent, or wait for one, or are refused where there is none', async () => {
    await using mesh = await startSpan(core, hubs)
    const api = new Api(mesh.far)
    expect(
      await api.refused('POST', '/messages', json({ to: NLP, messageType: 'x', ifNone: 'fail' })),
    ).toMatchObject({
      status: 409,
      code: 'no_capable_agent',
      retryable: true,
    })
    expect((await post(api, NLP, 1)).recipients).toBe(0)
    await using alice = await join(mesh.near, 'alice')
    expect(await alice.next('message')).toMatchObject({ via: 'queue', capability: 'nlp', payload: 1 })
  })

  test('go to all, to a group and to all with a capability, members over HTTP too', async () => {
    await using mesh = await startSpan(core, hubs)
    const api = new Api(mesh.far)
    await using alice = await join(mesh.near, 'alice', { groups: ['eu'] })
    await using bob = await join(mesh.far, 'bob', asker)
    const members = new MeshClient(mesh.near)
    await members.register('member')
    expect((await post(api, { all: true }, 'all')).recipients).toBe(3)
    expect((await post(api, { group: 'eu' }, 'eu')).recipients).toBe(1)
    expect((await post(api, { capability: 'asking', mode: 'all' }, 'asking')).recipients).toBe(1)
    expect(await read(alice, 2)).toEqual(['all', 'eu'])
    expect(await read(bob, 2)).toEqual(['all', 'asking'])
    expect(await members.payloads('member')).toEqual(['all'])
  })

  test('are refused as those of agents are', async () => {
    await using mesh = await startSpan(core, hubs, { inboxMax: 1, maxMessageBytes: 8_192 })
    const api = new Api(mesh.far)
    await using alice = await join(mesh.near, 'alice', { window: 1 })
    const refused = (body: unknown) => api.refused('POST', '/messages', json(body))
    const ok = { to: { agent: 'alice' }, messageType: 'x', payload: 1 }
    await post(api, { agent: 'alice' }, 1)
    const full = await refused(ok)
    expect(full).toMatchObject({ status: 429, code: 'inbox_full', retryable: true })
    expect(full.headers.get('retry-after')).toBe('1')
    for (const [body, status, code] of [
      [{ ...ok, to: { agent: 'nobody' } }, 404, 'unknown_target'],
      [{ ...ok, to: { name: 'nobody' } }, 404, 'unknown_target'],
      [{ ...ok, to: { leader: true }, from: 'alice' }, 409, 'agent_taken'],
      [{ ...ok, to: {} }, 422, 'invalid_body'],
      [{ ...ok, to: { agent: 'alice', group: 'eu' } }, 422, 'invalid_body'],
      [{ ...ok, to: { agents: ['alice'] } }, 422, 'invalid_body'],
      [{ ...ok, messageType: 'No Spaces' }, 422, 'invalid_body'],
      [{ ...ok, receipt: true }, 422, 'invalid_body'],
      [{ ...ok, from: '' }, 422, 'invalid_body'],
      [{ ...ok, from: '\ud800' }, 422, 'invalid_body'],
      [{ ...ok, ttlMs: 0 }, 422, 'invalid_body'],
      [{ ...ok, payload: 'x'.repeat(5_000) }, 413, 'payload_too_large'],
      [{ ...ok, payload: 'x'.repeat(9_000) }, 413, 'payload_too_large'],
      ['[]', 422, 'invalid_body'],
      ['{"to":', 400, 'bad_request'],
    ] as const)
      expect([body, await refused(body)]).toMatchObject([body, { status, code, retryable: false }])
    const noLeader = json({ to: { leader: true }, messageType: 'x' })
    expect(await api.refused('POST', '/messages?namespace=empty', noLeader)).toMatchObject({
      status: 409,
      code: 'no_leader',
      retryable: true,
    })
    expect(alice.id).toBe('alice')
  })

  test('that nobody has acknowledged are counted, with the age of the oldest', async () => {
    await using mesh = await startSpan(core, hubs)
    const api = new Api(mesh.far)
    await using alice = await join(mesh.near, 'alice', asker)
    await using bob = await join(mesh.near, 'bob', asker)
    const none = { entries: 0, oldestAt: null, oldestAgeMs: null }
    expect(await api.get('/agents/bob/inbox')).toEqual({ agentId: 'bob', inbox: none, replies: none })
    await sendAll(alice, 'bob', numbers(3))
    await send(alice, 'bob', 'answer', { messageType: 'response' })
    const first = await bob.next('message')
    const depth = await api.get<InboxInfo>('/agents/bob/inbox')
    expect(depth).toMatchObject({ inbox: { entries: 3, oldestAt: first.createdAt }, replies: { entries: 1 } })
    expect(depth.inbox.oldestAgeMs).toBeLessThan(10_000)
    ack(bob, first)
    await expect
      .poll(async () => (await api.get<InboxInfo>('/agents/bob/inbox')).inbox.entries, { interval: 5 })
      .toBe(2)
    expect(await api.refused('GET', '/agents/nobody/inbox')).toMatchObject({ status: 404 })
  })

  test('that wait for workers are counted by queue, page by page', async () => {
    await using mesh = await startSpan(core, hubs)
    const api = new Api(mesh.far)
    await using boss = await join(mesh.near, 'boss', asker)
    await using worker = await join(mesh.near, 'worker', { concurrency: 2 })
    expect(await api.get('/queues')).toEqual({ queues: [], cursor: null })
    await sendAll(boss, NLP, numbers(5))
    await sendAll(boss, { capability: 'vision' }, numbers(2))
    const first = await worker.next('message')
    await worker.next('message')
    nack(worker, first, { delayMs: 60_000 })
    await worker.next('message')
    const page = await api.get<QueuesPage>('/queues?limit=1')
    expect(page).toMatchObject({
      queues: [{ capability: 'nlp', entries: 5, waiting: 2, delayed: 1, inProgress: 2 }],
      cursor: 'nlp',
    })
    expect(page.queues[0]?.oldestAgeMs).toBeLessThan(10_000)
    expect(await api.get('/queues?cursor=nlp')).toMatchObject({
      queues: [{ capability: 'vision', entries: 2, waiting: 2, delayed: 0, inProgress: 0 }],
      cursor: null,
    })
  })

  test('that were given up are listed, sent again and deleted', async () => {
    await using mesh = await startSpan(core, hubs)
    const api = new Api(mesh.far)
    await using dead = await watchDead(mesh.near)
    await using alice = await join(mesh.near, 'alice', asker)
    await using bob = await join(mesh.near, 'bob')
    for (const reason of ['bad', 'bad', 'worse']) {
      await send(alice, 'bob', reason)
      nack(bob, await bob.next('message'), { requeue: false, reason })
      await dead.next()
    }
    const list = (query: string): Promise<DeadLettersListResult> => api.get(`/dead-letters${query}`)
    const all = await list('?payload=true')
    expect(all).toMatchObject({ kept: 3, dropped: 0, cursor: null })
    expect(all.deadLetters.map(({ payload }) => payload)).toEqual(['bad', 'bad', 'worse'])
    const page = await list('?limit=2')
    expect(page.deadLetters[0]).not.toHaveProperty('payload')
    expect((await list(`?cursor=${page.cursor}`)).deadLetters).toMatchObject([{ reason: 'worse' }])
    expect((await list('?reason=worse&agentId=bob&from=alice')).deadLetters).toHaveLength(1)
    expect((await list('?reason=none')).deadLetters).toEqual([])
    const [first] = all.deadLetters
    const positions = [first?.position ?? '', '1-1']
    expect(await api.post('/dead-letters/redrive', { positions })).toEqual({ redriven: 1, failed: [] })
    expect(await bob.next('message')).toMatchObject({ id: first?.messageId, payload: 'bad' })
    expect(await api.post('/dead-letters/purge', { where: { reason: 'worse' } })).toEqual({ purged: 1 })
    expect(await api.post('/dead-letters/purge', { where: {} })).toEqual({ purged: 1 })
    expect((await list('')).kept).toBe(0)
  })

  test('that were given up cannot be named in two ways, by none, or by what they do not have', async () => {
    await using mesh = await startSpan(core, hubs)
    const api = new Api(mesh.far)
    for (const what of ['redrive', 'purge']) {
      for (const body of [
        {},
        { positions: ['1-1'], where: {} },
        { where: { reasons: 'x' } },
        { positions: ['x'] },
      ])
        expect([body, await api.refused('POST', `/dead-letters/${what}`, json(body))]).toMatchObject([
          body,
          { status: 422, code: 'invalid_body' },
        ])
    }
    expect(await api.refused('GET', '/dead-letters?cursor=x')).toMatchObject({
      status: 400,
      code: 'bad_request',
    })
    expect(await api.refused('GET', '/dead-letters?reasons=x')).toMatchObject({
      status: 400,
      code: 'bad_request',
    })
  })
})
