import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest'
import type { WatchEvent } from '../../client/node.ts'
import { agentInfo, startScriptedHub } from '../support/scripted-hub.ts'
import type { Frame } from '../support/scripted-hub.ts'

const agent = (id: string, fields = {}) => agentInfo({ id, name: id, ...fields })
const none = { agentId: null, term: 0 }

function list(revision: number, ids: readonly string[], fields = {}) {
  return {
    subscription: 'w1',
    revision,
    agents: ids.map((id) => agent(id)),
    last: true,
    reset: false,
    leader: none,
    ...fields,
  }
}

function event(revision: number, kind: string, id: string, fields = {}): Frame {
  return {
    type: 'event',
    subscription: 'w1',
    revision,
    event: kind,
    at: '',
    agentId: id,
    agent: agent(id),
    ...fields,
  }
}

async function read(watch: AsyncIterator<WatchEvent, undefined>): Promise<WatchEvent> {
  const { value, done } = await watch.next()
  if (done === true) throw new Error('the watch is over')
  return value
}

describe('a watch', () => {
  beforeEach(() => void vi.spyOn(Math, 'random').mockReturnValue(0))
  afterEach(() => void vi.restoreAllMocks())

  it('yields the list first, then every change, and keeps its map true', async () => {
    await using hub = await startScriptedHub()
    const [client, socket] = await hub.observe()
    const watch = client.watch({ capabilities: { all: ['nlp'] } })
    const frame = await socket.next('subscribe')
    expect(frame).toMatchObject({
      where: { capabilities: { all: ['nlp'] } },
      events: ['agent.*', 'leader.changed'],
      since: null,
    })
    socket.ok(frame, list(10, ['a', 'b'], { leader: { agentId: 'a', term: 4 } }))
    socket.send(event(11, 'agent.registered', 'c'), event(12, 'agent.updated', 'a', { matches: false }))
    await watch.ready
    expect(await read(watch)).toMatchObject({
      event: 'list',
      reason: 'first',
      revision: 10,
      agents: [{ id: 'a' }, { id: 'b' }],
    })
    expect(await read(watch)).toMatchObject({ event: 'agent.registered', agentId: 'c' })
    expect(await read(watch)).toMatchObject({ event: 'agent.updated', matches: false })
    expect([[...watch.agents.keys()], watch.revision, watch.leader]).toEqual([
      ['b', 'c'],
      12,
      { agentId: 'a', term: 4 },
    ])
  })

  it('takes a list of several pages as one', async () => {
    await using hub = await startScriptedHub()
    const [client, socket] = await hub.observe()
    const watch = client.watch()
    const frame = await socket.next('subscribe')
    socket.ok(frame, list(10, ['a'], { last: false }))
    socket.send({ type: 'snapshot', ...list(10, ['b'], { last: false }) })
    socket.send({ type: 'snapshot', ...list(10, ['c']) }, event(11, 'agent.registered', 'd'))
    const first = await read(watch)
    expect(first).toMatchObject({ event: 'list', agents: [{ id: 'a' }, { id: 'b' }, { id: 'c' }] })
    expect(await read(watch)).toMatchObject({ agentId: 'd' })
  })

  it('goes on from its revision after a reconnection, without a new list', async () => {
    await using hub = await startScriptedHub()
    const [client, first] = await hub.observe()
    const watch = client.watch()
    first.ok(await first.next('subscribe'), list(10, ['a']))
    first.send(event(11, 'agent.registered', 'b'))
    await read(watch)
    await read(watch)
    first.cut()
    const second = await hub.accept()
    await second.welcome({ agent: null, session: null })
    const frame = await second.next('subscribe')
    expect(frame['since']).toBe(11)
    second.ok(frame, { ...list(11, []), subscription: 'w7' })
    second.send({ ...event(12, 'agent.unregistered', 'a'), subscription: 'w7' })
    expect(await read(watch)).toMatchObject({ event: 'agent.unregistered', agentId: 'a' })
    expect([...watch.agents.keys()]).toEqual(['b'])
  })

  it('begins anew after a cut in the middle of its first list', async () => {
    await using hub = await startScriptedHub()
    const [client, first] = await hub.observe()
    const watch = client.watch()
    first.ok(await first.next('subscribe'), list(10, ['a'], { last: false }))
    first.cut()
    const second = await hub.accept()
    await second.welcome({ agent: null, session: null })
    const frame = await second.next('subscribe')
    expect(frame['since']).toBe(null)
    second.ok(frame, list(12, ['b']))
    expect(await read(watch)).toMatchObject({ reason: 'first', agents: [{ id: 'b' }] })
  })

  it.each(['on subscribing again', 'while it lives'])('takes a reset %s as a new list', async (when) => {
    await using hub = await startScriptedHub()
    const [client, first] = await hub.observe()
    const watch = client.watch()
    first.ok(await first.next('subscribe'), list(10, ['a', 'b']))
    await read(watch)
    if (when === 'while it lives') {
      first.send({ type: 'snapshot', ...list(900, ['c'], { reset: true }) })
    } else {
      first.cut()
      const second = await hub.accept()
      await second.welcome({ agent: null, session: null })
      second.ok(await second.next('subscribe'), list(900, ['c'], { reset: true }))
    }
    expect(await read(watch)).toMatchObject({
      event: 'list',
      reason: 'reset',
      revision: 900,
      agents: [{ id: 'c' }],
    })
    expect([...watch.agents.keys()]).toEqual(['c'])
  })

  it('drops what a slow reader left lying and gives it the list instead; the map is right all the time', async () => {
    await using hub = await startScriptedHub()
    const [client, socket] = await hub.observe()
    const watch = client.watch(null, { bufferMax: 3 })
    socket.ok(await socket.next('subscribe'), list(10, []))
    for (let n = 1; n <= 5; n++) socket.send(event(10 + n, 'agent.registered', `x${n}`))
    await expect.poll(() => watch.agents.size).toBe(5)
    expect(await read(watch)).toMatchObject({
      event: 'list',
      reason: 'behind',
      revision: 13,
      agents: { length: 3 },
    })
    expect(await read(watch)).toMatchObject({ agentId: 'x4' })
    expect(await read(watch)).toMatchObject({ agentId: 'x5' })
  })

  it('yields only the kinds it was asked for, while its map follows all', async () => {
    await using hub = await startScriptedHub()
    const [client, socket] = await hub.observe()
    const watch = client.watch(null, { events: ['leader.changed', 'agent.heartbeat'] })
    const frame = await socket.next('subscribe')
    expect(frame['events']).toEqual(['agent.*', 'leader.changed', 'agent.heartbeat'])
    socket.ok(frame, list(10, []))
    socket.send(event(11, 'agent.registered', 'a'))
    socket.send({
      type: 'event',
      subscription: 'w1',
      revision: 12,
      event: 'leader.changed',
      at: '',
      agentId: 'a',
      term: 12,
      old: null,
    })
    expect(await read(watch)).toMatchObject({ event: 'list', agents: [] })
    expect(await read(watch)).toMatchObject({ event: 'leader.changed', agentId: 'a' })
    expect([watch.agents.get('a')?.isLeader, watch.leader]).toEqual([true, { agentId: 'a', term: 12 }])
  })

  it('unsubscribes when its reader leaves the loop', async () => {
    await using hub = await startScriptedHub()
    const [client, socket] = await hub.observe()
    const watch = client.watch()
    socket.ok(await socket.next('subscribe'), list(10, ['a']))
    for await (const item of watch) {
      expect(item.event).toBe('list')
      break
    }
    expect(await socket.next('unsubscribe')).toMatchObject({ subscription: 'w1' })
    expect((await watch.next()).done).toBe(true)
  })

  it('that was closed before its answer came unsubscribes when it comes', async () => {
    await using hub = await startScriptedHub()
    const [client, socket] = await hub.observe()
    const watch = client.watch()
    const frame = await socket.next('subscribe')
    watch.close()
    await expect(watch.ready).rejects.toMatchObject({ name: 'AbortError' })
    socket.ok(frame, list(10, ['a']))
    expect(await socket.next('unsubscribe')).toMatchObject({ subscription: 'w1' })
  })

  it('that the hub refuses throws the reason', async () => {
    await using hub = await startScriptedHub()
    const [client, socket] = await hub.observe()
    const watch = client.watch({ version: 'not a range' })
    socket.error(await socket.next('subscribe'), 'bad_frame')
    await expect(watch.ready).rejects.toMatchObject({ code: 'bad_frame' })
    await expect(watch.next()).rejects.toMatchObject({ code: 'bad_frame' })
  })

  it('that the hub can not serve now is asked for again', async () => {
    await using hub = await startScriptedHub()
    const [client, socket] = await hub.observe()
    const watch = client.watch()
    socket.error(await socket.next('subscribe'), 'internal', true, 1)
    socket.ok(await socket.next('subscribe'), list(10, ['a']))
    await watch.ready
    expect(watch.agents.size).toBe(1)
  })

  it('is done when the client is closed, and throws when it ended for another reason', async () => {
    await using hub = await startScriptedHub()
    const [client, socket] = await hub.observe()
    const watch = client.watch()
    socket.ok(await socket.next('subscribe'), list(10, []))
    await read(watch)
    const next = watch.next()
    const closing = client.close()
    socket.ok(await socket.next('bye'))
    await closing
    expect((await next).done).toBe(true)

    const [other, otherSocket] = await hub.observe()
    const ended = other.watch()
    otherSocket.ok(await otherSocket.next('subscribe'), list(10, []))
    await read(ended)
    otherSocket.close(4410)
    await expect(ended.next()).rejects.toMatchObject({ code: 'not_registered' })
    await expect(other.watch().next()).rejects.toMatchObject({ name: 'AbortError' })
  })

  it('without a JSON text throws at once, and troubles no later connection', async () => {
    await using hub = await startScriptedHub()
    const [client, socket] = await hub.join()
    const statuses = client.status()
    socket.cut()
    for await (const { type } of statuses) if (type === 'waiting') break
    expect(() => client.watch({ name: 1n as never })).toThrow(TypeError)
    const again = await hub.accept()
    await again.welcome()
    await again.settled()
    expect(client.state.type).toBe('open')
    expect(() => client.watch({ name: 1n as never })).toThrow(TypeError)
  })
})

describe('discovering', () => {
  it('asks for one page', async () => {
    await using hub = await startScriptedHub()
    const [client, socket] = await hub.observe()
    const found = client.discover({ group: 'eu' }, { limit: 2 })
    const frame = await socket.next('discover')
    expect(frame).toMatchObject({ where: { group: 'eu' }, limit: 2 })
    socket.ok(frame, { agents: [agent('a')], cursor: 'next' })
    expect(await found).toMatchObject({ agents: [{ id: 'a' }], cursor: 'next' })
  })

  it('walks through all pages as they are read', async () => {
    await using hub = await startScriptedHub()
    const [client, socket] = await hub.observe()
    const ids = (async () => {
      const seen: string[] = []
      for await (const { id } of client.discoverAll({}, { limit: 2 })) seen.push(id)
      return seen
    })()
    socket.ok(await socket.next('discover'), { agents: [agent('a'), agent('b')], cursor: 'p2' })
    const second = await socket.next('discover')
    expect(second['cursor']).toBe('p2')
    socket.ok(second, { agents: [agent('c')], cursor: null })
    expect(await ids).toEqual(['a', 'b', 'c'])
  })

  it('ends by its timeout', async () => {
    await using hub = await startScriptedHub()
    const [client] = await hub.observe()
    await expect(client.discover({}, { timeoutMs: 20 })).rejects.toMatchObject({ name: 'TimeoutError' })
  })
})
