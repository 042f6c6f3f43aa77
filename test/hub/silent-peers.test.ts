import { connect as connectTcp } from 'node:net'
import { once } from 'node:events'
import { expect, test } from 'vitest'
import { connectAgent, connectObserver, openSocket, type TestAgent } from '../support/agent.ts'
import { startHubProcess } from '../support/hub-process.ts'
import { newStore, startHurriedHub, startTestHub } from '../support/hubs.ts'
import { join, numbers, read, receive, reconnect, send, sendAll } from '../support/talk.ts'
import { startTcpProxy } from '../support/tcp-proxy.ts'

test('a connection that is half-open is closed 4002, and its agent comes back to all that was stored', async () => {
  await using hub = await startTestHub('redis', { heartbeatIntervalMs: 300, heartbeatTimeoutMs: 300 })
  await using proxy = await startTcpProxy(hub.port)
  await using watcher = await connectObserver(hub)
  await watcher.request({ type: 'subscribe' })
  await using alice = await join(hub, 'alice')
  await using bob = await join({ url: `ws://127.0.0.1:${proxy.port}/mesh` }, 'bob')
  await send(alice, 'bob', 'before')
  expect(await read(bob, 1)).toEqual(['before'])
  // He is gone, and the hub is not told.
  proxy.halfOpen('far')
  await sendAll(alice, 'bob', ['one', 'two', 'three'])
  await watcher.next(
    'event',
    (event) => 'agent' in event && event.agentId === 'bob' && !event.agent.connected,
  )
  await using back = await reconnect(hub, bob)
  expect(await read(back, 4)).toEqual(['before', 'one', 'two', 'three'])
  await alice.roundTrip()
})

test('a crowd that connects and never says hello is closed 4408, and others get in and are served meanwhile', async () => {
  await using hub = await startHurriedHub(1_500)
  const crowd = await Promise.all(numbers(400).map(() => openSocket(hub)))
  await using agent = await connectAgent(hub, { id: 'a1' })
  await agent.roundTrip()
  for (const { code, reason } of await Promise.all(crowd.map((socket) => socket.closed)))
    expect([code, reason]).toEqual([4408, 'no_hello'])
  await agent.roundTrip()
})

test('who only opens a TCP connection, or stops in the middle of its request, keeps nobody out', async () => {
  await using hub = await startTestHub('memory')
  const silent = await Promise.all(
    numbers(200).map(async (i) => {
      const socket = connectTcp(hub.port, '127.0.0.1')
      await once(socket, 'connect')
      if (i % 2) socket.write('GET /mesh HTTP/1.1\r\nHost: localhost\r\nUpgr')
      return socket
    }),
  )
  await using agent = await connectAgent(hub, { id: 'a1' })
  await agent.roundTrip()
  await hub.close()
  for (const socket of silent) if (!socket.closed) await once(socket, 'close')
})

test(
  'a thousand frozen readers with full inboxes cost little memory, disturb nobody, and lose nothing stored',
  { timeout: 90_000 },
  async () => {
    const { redisUrl = '', keyPrefix = '' } = await newStore('redis')
    await using hub = await startHubProcess({
      '--redis-url': redisUrl,
      '--key-prefix': keyPrefix,
      '--inbox-max': 20,
      '--rate-per-second': 0,
      '--handshakes-per-second': 0,
      '--heartbeat-interval-ms': 4_000,
      '--heartbeat-timeout-ms': 4_000,
    })
    const count = 1_000
    const payload = 'x'.repeat(2_000)
    await using alice = await join(hub, 'alice')
    await using bob = await join(hub, 'bob')
    const crowd: TestAgent[] = []
    for (let at = 0; at < count; at += 100)
      crowd.push(
        ...(await Promise.all(numbers(100).map((i) => join(hub, `frozen-${at + i}`, { window: 10_000 })))),
      )
    for (const frozen of crowd) frozen.pause()
    const before = await hub.rssMiB()
    for (const { id } of crowd) {
      for (let i = 0; i < 20; i++)
        alice.send({
          type: 'send',
          ref: i,
          to: { agent: id },
          messageType: 'query',
          payload: `${i} ${payload}`,
        })
      await alice.roundTrip()
      alice.takeWaiting()
    }
    expect(
      await alice.refusal({ type: 'send', to: { agent: 'frozen-0' }, messageType: 'query', payload: 1 }),
    ).toMatchObject({
      code: 'inbox_full',
    })
    await using watcher = await connectObserver(hub)
    await watcher.request({ type: 'subscribe' })
    const watching = { on: true }
    const lost = (async () => {
      for (let i = 0; i < count; i++)
        await watcher.next('event', (event) => 'agent' in event && !event.agent.connected, 40_000)
      watching.on = false
    })()
    let slowest = 0
    let highest = 0
    while (watching.on) {
      const begun = performance.now()
      await send(alice, 'bob', 'ping')
      const [message] = await receive(bob, 1)
      slowest = Math.max(slowest, performance.now() - begun)
      if (message) bob.send({ type: 'ack', ids: [message.id] })
      highest = Math.max(highest, await hub.rssMiB())
    }
    await lost
    // Who does not read the close frame in time sees the connection reset.
    for (const frozen of crowd) frozen.resume()
    for (const frozen of crowd) expect([4002, 4008, 1006]).toContain((await frozen.closed).code)
    expect(highest - before).toBeLessThan(150)
    expect(slowest).toBeLessThan(2_000)
    for (const frozen of [crowd[0], crowd[499], crowd[999]]) {
      if (!frozen) continue
      await using back = await reconnect(hub, frozen, { window: 100 })
      expect((await read(back, 20)).map((one) => Number(String(one).split(' ')[0]))).toEqual(numbers(20))
    }
  },
)
