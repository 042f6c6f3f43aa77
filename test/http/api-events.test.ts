import { once } from 'node:events'
import { connect } from 'node:net'
import { promisify } from 'node:util'
import { describe, expect, test } from 'vitest'
import { parseSettings } from '../../src/parse-settings.ts'
import { createApp } from '../../src/http/app.ts'
import type { ApiOptions } from '../../src/http/routes/api/index.ts'
import { Hub } from '../../src/hub/hub.ts'
import { createLog } from '../../src/observability/log.ts'
import { createMemoryCore, VERSION } from '../../src/server.ts'
import { Api, misfit } from '../support/api.ts'
import { EventReader, type ServerEvent } from '../support/event-reader.ts'
import { startHubProcess } from '../support/hub-process.ts'
import { newStore, startTestHub } from '../support/hubs.ts'
import { redisOfFile } from '../support/redis-of-file.ts'
import { asker, join, nack, PLACES, send, startSpan } from '../support/talk.ts'

const eventsUrl = (hub: { readonly httpUrl: string } | string, query = ''): string =>
  `${typeof hub === 'string' ? hub : hub.httpUrl}/api/v1/events${query}`

/** What happened to whom. */
const briefOf = ({ event, data }: ServerEvent): string => `${event} ${String(data['agentId'])}`

/** A hub on a memory core whose streams have these options. */
async function startHubWith(
  options: ApiOptions,
): Promise<{ url: string; httpUrl: string; connections: () => Promise<number> } & AsyncDisposable> {
  const settings = parseSettings({ logLevel: 'silent', ratePerSecond: 0 })
  const core = createMemoryCore({ limits: settings })
  const hub = new Hub({ core, settings, log: createLog('silent') })
  const app = createApp(hub, VERSION, { api: options })
  await hub.start()
  const httpUrl = await app.listen({ host: '127.0.0.1', port: 0 })
  return {
    httpUrl,
    url: `${httpUrl.replace('http', 'ws')}/mesh`,
    connections: () => promisify(app.server.getConnections.bind(app.server))(),
    async [Symbol.asyncDispose]() {
      await hub.close()
      await app.close()
      await core.close()
    },
  }
}

describe.each(PLACES)('events by the operations API, on %s with %i hub(s)', (core, hubs) => {
  test('begin with the list, go on with every change, and fit their schemas', async () => {
    await using mesh = await startSpan(core, hubs)
    await using alice = await join(mesh.near, 'alice')
    await using reader = await EventReader.open(
      eventsUrl(
        mesh.far,
        '?events=agent.*&events=leader.changed&events=agent.heartbeat&events=message.dead_lettered',
      ),
    )
    expect(reader.headers.get('cache-control')).toBe('no-store')
    const list = await reader.next()
    expect(list).toMatchObject({
      event: 'list',
      data: { agents: [{ id: 'alice' }], last: true, reset: false, leader: { agentId: 'alice' } },
    })
    expect(list.id).toBe(String(list.data['revision']))
    expect(reader.retryMs).toBe(1_000)
    await using bob = await join(mesh.near, 'bob', asker)
    const events = [list, await reader.next('agent.registered')]
    await bob.request({ type: 'update', status: 'degraded' })
    events.push(await reader.next('agent.status_changed'))
    bob.send({ type: 'pong', metrics: { load: 1 } })
    events.push(await reader.next('agent.heartbeat'))
    await send(bob, 'alice', 1)
    nack(alice, await alice.next('message'), { requeue: false, reason: 'bad' })
    events.push(await reader.next('message.dead_lettered'))
    await alice.request({ type: 'bye' })
    events.push(await reader.next('agent.unregistered'), await reader.next('leader.changed'))
    expect(events.slice(1).map(briefOf)).toEqual([
      'agent.registered bob',
      'agent.status_changed bob',
      'agent.heartbeat bob',
      'message.dead_lettered alice',
      'agent.unregistered alice',
      'leader.changed null',
    ])
    const document = await new Api(mesh.near).document()
    for (const { event, data } of events) {
      const schema = { $ref: `#/components/schemas/${event === 'list' ? 'EventList' : 'Event'}` }
      expect([event, misfit(document, schema, data)]).toEqual([event, null])
    }
  })

  test('are told of those that match, and when they cease to', async () => {
    await using mesh = await startSpan(core, hubs)
    await using reader = await EventReader.open(eventsUrl(mesh.far, '?capability=nlp&metadata[team]=a'))
    expect((await reader.next()).data['agents']).toEqual([])
    await using _ = await join(mesh.near, 'other', asker)
    await using alice = await join(mesh.near, 'alice', { metadata: { team: 'a' } })
    expect(briefOf(await reader.next('agent.registered'))).toBe('agent.registered alice')
    await alice.request({ type: 'update', metadata: { team: 'b' } })
    expect(await reader.next()).toMatchObject({ event: 'agent.updated', data: { matches: false } })
  })

  test('continue on another hub after the last one that was read, none missing, none twice', async () => {
    await using mesh = await startSpan(core, hubs)
    let last = ''
    const told: string[] = []
    const registered: string[] = []
    for (let round = 0; round < 4; round++) {
      const hub = mesh.hubs[round % mesh.hubs.length] ?? mesh.near
      await using reader = await EventReader.open(eventsUrl(hub), last)
      if (round === 0) await reader.next('list')
      // Some while it reads, some while it does not.
      for (const suffix of ['x', 'y']) {
        const id = `agent-${round}${suffix}`
        registered.push(id)
        await (await join(mesh.near, id)).request({ type: 'bye', keep: true })
        if (suffix === 'y') break
        for (let event = await reader.next(); ; event = await reader.next()) {
          expect(event.event).not.toBe('list')
          if (event.event === 'agent.registered') told.push(String(event.data['agentId']))
          if (event.event === 'agent.status_changed' && event.data['agentId'] === id) break
        }
        last = reader.lastEventId
      }
    }
    await using reader = await EventReader.open(eventsUrl(mesh.far), last)
    told.push(String((await reader.next('agent.registered')).data['agentId']))
    expect(told).toEqual(registered)
  })

  test('that are not kept any more begin anew with a list that says so', async () => {
    await using mesh = await startSpan(core, hubs, { eventsMax: 2 })
    await using _a = await join(mesh.near, 'alice')
    let last = ''
    {
      await using reader = await EventReader.open(eventsUrl(mesh.far))
      last = (await reader.next('list')).id
    }
    await using _b = await join(mesh.near, 'bob')
    await using _c = await join(mesh.near, 'carol')
    await using _d = await join(mesh.near, 'dave')
    for (const id of [last, '9007199254740991', '99999999999999999999', 'nonsense', '-1']) {
      await using reader = await EventReader.open(eventsUrl(mesh.near), id)
      const { event, data } = await reader.next()
      expect([id, event, data['reset'], (data['agents'] as unknown[]).length]).toEqual([id, 'list', true, 4])
    }
  })

  test('end when their hub drains, with a time to come back at, and continue elsewhere', async () => {
    await using mesh = await startSpan(core, hubs)
    await using reader = await EventReader.open(eventsUrl(mesh.near))
    await reader.next('list')
    const drained = mesh.near.drain()
    await reader.ended
    expect(reader.text).toContain(': this hub is shutting down; connect again\n')
    expect(reader.retryMs).toBeLessThanOrEqual(2_000)
    await drained
    // A browser gives up at any other status than 200.
    await using again = await EventReader.open(eventsUrl(mesh.near), reader.lastEventId)
    await again.ended
    expect(again.text).toContain(': draining: ')
    const api = new Api(mesh.near)
    const refused = await api.refused('GET', '/events')
    expect(refused).toMatchObject({ status: 503, code: 'draining', retryable: true })
    expect(refused.headers.get('retry-after')).toBe('1')
    if (hubs === 1) return
    await using other = await EventReader.open(eventsUrl(mesh.far), reader.lastEventId)
    await using _ = await join(mesh.far, 'alice')
    expect(briefOf(await other.next())).toBe('agent.registered alice')
  })
})

test('a reader whose hub was killed continues on another one without a gap', async () => {
  const { redisUrl = '', keyPrefix = '' } = await newStore('redis')
  const flags = { '--redis-url': redisUrl, '--key-prefix': keyPrefix, '--hub-lease-ms': 1_000 }
  await using one = await startHubProcess(flags)
  await using two = await startHubProcess(flags)
  const urlOf = ({ url }: { url: string }): string => eventsUrl(new URL(url.replace('ws', 'http')).origin)
  await using reader = await EventReader.open(urlOf(one))
  const told: string[] = []
  let revision = Number((await reader.next('list')).id)
  const take = ({ event, data, id }: ServerEvent): void => {
    expect(Number(id)).toBe(revision + 1)
    revision += 1
    if (event === 'agent.registered') told.push(String(data['agentId']))
  }
  await using _a = await join(two, 'a')
  take(await reader.next())
  await one.kill()
  await reader.ended
  for (const event of reader.waiting) take(event)
  await using _b = await join(two, 'b')
  await using again = await EventReader.open(urlOf(two), reader.lastEventId)
  await using _c = await join(two, 'c')
  while (told.at(-1) !== 'c') take(await again.next())
  expect(told).toEqual(['a', 'b', 'c'])
})

test('a reader that continues while the store is away is sent away for a while, and not for good', async () => {
  const { redisUrl = '', keyPrefix = '' } = await newStore('redis')
  await using hub = await startHubProcess({ '--redis-url': redisUrl, '--key-prefix': keyPrefix })
  const origin = new URL(hub.url.replace('ws', 'http')).origin
  await using _ = await join(hub, 'alice')
  const redis = await redisOfFile()
  await redis.stop()
  await using reader = await EventReader.open(eventsUrl(origin), '5')
  await reader.ended
  expect(reader.text).toMatch(/^: store_unavailable: /m)
  expect(reader.retryMs).toBeGreaterThan(0)
  const refused = await new Api(origin).refused('GET', '/queues')
  expect(refused).toMatchObject({ status: 503, code: 'store_unavailable', retryable: true })
  expect(refused.headers.get('retry-after')).toMatch(/^\d+$/)
  // From this hub's copy.
  expect(await new Api(origin).get('/agents')).toMatchObject({ agents: [{ id: 'alice' }] })
  expect(await new Api(origin).get('/leader')).toMatchObject({ leader: { agentId: 'alice' } })
})

test('a silent stream says that it lives, and moves the place where its reader would continue', async () => {
  await using hub = await startHubWith({ heartbeatMs: 100 })
  await using reader = await EventReader.open(eventsUrl(hub, '?capability=vision&events=agent.*'))
  const { id } = await reader.next('list')
  await using _ = await join(hub, 'alice')
  await reader.seen(/: heartbeat\n/)
  await expect
    .poll(() => Number(reader.lastEventId), { interval: 20, timeout: 5_000 })
    .toBeGreaterThan(Number(id))
  expect(reader.waiting).toEqual([])
})

test('a list is told page by page, and only the last page has a place to continue from', async () => {
  await using hub = await startHubWith({})
  const metadata = { text: 'x'.repeat(16_000) }
  const agents = await Promise.all(
    Array.from({ length: 40 }, (_, i) => join(hub, `agent-${i}`, { metadata })),
  )
  await using reader = await EventReader.open(eventsUrl(hub))
  const pages: ServerEvent[] = [await reader.next('list')]
  while (pages.at(-1)?.data['last'] === false) pages.push(await reader.next('list'))
  expect(pages.length).toBeGreaterThan(1)
  expect(pages.flatMap(({ data }) => data['agents'])).toHaveLength(40)
  expect(pages.map(({ id }) => id !== '')).toEqual(pages.map(({ data }) => data['last']))
  await Promise.all(agents.map((agent) => agent.cut()))
})

test('readers of one address, or of one principal, leave room for those of others', async () => {
  await using hub = await startTestHub('memory', { trustedProxies: ['127.0.0.1'], ratePerSecond: 0 })
  const controller = new AbortController()
  const open = async (address: string, signal = controller.signal): Promise<Response> =>
    fetch(eventsUrl(hub), { headers: { 'X-Forwarded-For': address }, signal })
  const first = new AbortController()
  const one = await open('192.0.2.1', first.signal)
  // All at once: a place is taken before there is anything to read.
  const all = await Promise.all(Array.from({ length: 260 }, async () => open('192.0.2.1')))
  expect(one.status).toBe(200)
  expect(all.filter(({ status }) => status === 200)).toHaveLength(249)
  expect(all.filter(({ status }) => status === 429)).toHaveLength(11)
  expect((await open('192.0.2.2')).status).toBe(200)
  first.abort()
  await expect.poll(async () => (await open('192.0.2.1')).status).toBe(200)
  controller.abort()
})

test('a reader that does not read costs the hub a bounded amount of memory, and is closed', async () => {
  await using hub = await startHubWith({ slowMs: 1_000 })
  const { port } = new URL(hub.httpUrl)
  const socket = connect(Number(port), '127.0.0.1')
  await once(socket, 'connect')
  socket.write('GET /api/v1/events?events=agent.heartbeat&events=agent.* HTTP/1.1\r\nHost: localhost\r\n\r\n')
  await once(socket, 'data')
  socket.pause()
  const closed = once(socket, 'close')
  socket.on('error', () => undefined)
  await using alice = await join(hub, 'alice', { metadata: { text: 'x'.repeat(16_000) } })
  const before = process.memoryUsage().rss
  // About 100 MB, were they all written.
  for (let i = 0; i < 6_000; i++) alice.send({ type: 'pong', metrics: { i } })
  await alice.roundTrip()
  expect(process.memoryUsage().rss - before).toBeLessThan(60 * 1_048_576)
  // alice's is left.
  await expect.poll(hub.connections, { interval: 50, timeout: 10_000 }).toBe(1)
  let said = ''
  socket.on('data', (data: Buffer) => (said = (said + data.toString('latin1')).slice(-500)))
  socket.resume()
  await closed
  expect(said).not.toBe('')
})
