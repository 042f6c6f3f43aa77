import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import type { AgentInfo } from '../../protocol/agent.ts'
import type { DiscoverResult } from '../../protocol/replies.ts'
import { type HubServer, startHub } from '../../src/server.ts'
import {
  type AgentOptions,
  connectAgent,
  connectObserver,
  type TestAgent,
  type TestSocket,
} from '../support/agent.ts'
import { CORES, startTestHub } from '../support/hubs.ts'
import { startRedis } from '../support/redis.ts'
import { PLACES, seen, sendRefused, startSpan } from '../support/talk.ts'

const join = (hub: HubServer, name: string, options: AgentOptions = {}): Promise<TestAgent> =>
  connectAgent(hub, { id: `id-${name}`, name, ...options })

const discover = (socket: TestSocket, frame: object = {}): Promise<DiscoverResult> =>
  socket.request<DiscoverResult>({ type: 'discover', ...frame })

const namesOf = (agents: readonly AgentInfo[]): string[] => agents.map(({ name }) => name)

describe.each(CORES)('discover with where, on %s', (core) => {
  let hub: HubServer
  const agents: TestAgent[] = []
  let asker: TestSocket

  beforeAll(async () => {
    hub = await startTestHub(core, { graceMs: 0 })
    const add = async (name: string, options: AgentOptions): Promise<TestAgent> => {
      const agent = await join(hub, name, options)
      agents.push(agent)
      return agent
    }
    await add('anna', {
      capabilities: ['nlp', 'vision'],
      version: '1.2.0',
      groups: ['eu'],
      metadata: { team: 'search', tier: '1' },
    })
    await add('bert', {
      capabilities: ['nlp'],
      version: '1.9.3',
      groups: ['us'],
      metadata: { team: 'search', tier: '2' },
    })
    await add('cleo', {
      capabilities: ['vision', 'audio'],
      version: '2.0.0-beta.1',
      groups: ['eu', 'us'],
      metadata: { team: 'ads' },
    })
    await add('dirk', { capabilities: ['audio'], groups: ['eu'] })
    const egon = await add('egon', {
      capabilities: ['nlp', 'audio'],
      version: '2.1.0',
      metadata: { team: 'search' },
    })
    await egon.request({ type: 'update', status: 'degraded', statusReason: 'slow' })
    const fred = await add('fred', { capabilities: ['nlp'], version: '1.0.0', groups: ['eu'] })
    await fred.request({ type: 'bye', keep: true })
    asker = await connectObserver(hub)
  })
  afterAll(async () => {
    for (const agent of agents) await agent.cut()
    await asker.cut()
    await hub.close()
  })

  const ANY = { status: ['online', 'degraded', 'offline'] }
  const cases: readonly (readonly [title: string, where: object | null, names: string])[] = [
    ['nothing: who is online', {}, 'anna bert cleo dirk'],
    ['null: who is online', null, 'anna bert cleo dirk'],
    [
      'nulls in every field',
      { capabilities: null, status: null, name: null, group: null, version: null, metadata: null },
      'anna bert cleo dirk',
    ],
    ['one status', { status: ['degraded'] }, 'egon'],
    ['another status', { status: ['offline'] }, 'fred'],
    ['two statuses', { status: ['degraded', 'offline'] }, 'egon fred'],
    ['every status', ANY, 'anna bert cleo dirk egon fred'],
    ['no status', { status: [] }, ''],
    ['all of one capability', { capabilities: { all: ['nlp'] } }, 'anna bert'],
    ['all of two capabilities', { capabilities: { all: ['vision', 'nlp'] } }, 'anna'],
    ['any of two capabilities', { capabilities: { any: ['vision', 'audio'] } }, 'anna cleo dirk'],
    ['all and any', { capabilities: { all: ['vision'], any: ['audio', 'video'] } }, 'cleo'],
    ['empty all and any', { capabilities: { all: [], any: [] } }, 'anna bert cleo dirk'],
    ['a capability nobody has', { capabilities: { all: ['chess'] } }, ''],
    ['a name', { name: 'cleo' }, 'cleo'],
    ['the name of one that is offline', { name: 'fred' }, ''],
    ['a name in another case', { name: 'Cleo' }, ''],
    ['a group', { group: 'eu' }, 'anna cleo dirk'],
    ['a group nobody is in', { group: 'e' }, ''],
    ['a caret range', { version: '^1.2' }, 'anna bert'],
    ['a range of two bounds', { version: '>=1.3.0 <3', ...ANY }, 'bert egon'],
    ['a range with or', { version: '1.0.x || 2.1.x', ...ANY }, 'egon fred'],
    ['a range that names a prerelease', { version: '>=2.0.0-alpha <3', ...ANY }, 'cleo egon'],
    ['any version: not who has none', { version: '*' }, 'anna bert'],
    ['one key of metadata', { metadata: { team: 'search' } }, 'anna bert'],
    ['two keys of metadata', { metadata: { team: 'search', tier: '2' } }, 'bert'],
    ['a value of metadata nobody has', { metadata: { team: 'sear' } }, ''],
    ['a key of metadata nobody has', { metadata: { toString: 'x' } }, ''],
    [
      'all of it',
      {
        capabilities: { all: ['nlp'], any: ['vision'] },
        status: ['online'],
        name: 'anna',
        group: 'eu',
        version: '^1.2',
        metadata: { team: 'search' },
      },
      'anna',
    ],
    [
      'all of it but one',
      {
        capabilities: { all: ['nlp'], any: ['vision'] },
        status: ['online'],
        name: 'anna',
        group: 'us',
        version: '^1.2',
        metadata: { team: 'search' },
      },
      '',
    ],
    ['a field it does not know', { colour: 'red', group: 'us' }, 'bert cleo'],
  ]

  test.each(cases)('of %s', async (_, where, names) => {
    const { agents: found, cursor } = await discover(asker, { where })
    expect(namesOf(found).join(' ')).toBe(names)
    expect(cursor).toBeNull()
  })

  test('finds the same in pages of one', async () => {
    for (const [title, where, names] of cases) {
      const found: string[] = []
      let cursor: string | null = null
      do {
        const page: DiscoverResult = await discover(asker, { where, limit: 1, cursor })
        expect(page.agents.length).toBeLessThanOrEqual(1)
        found.push(...namesOf(page.agents))
        cursor = page.cursor
      } while (cursor !== null)
      expect(found.join(' '), title).toBe(names)
    }
  })

  test('shows agents whole', async () => {
    const { agents: found } = await discover(asker, { where: { name: 'anna' } })
    const anna = agents[0]
    expect(found[0]).toEqual({
      id: 'id-anna',
      name: 'anna',
      capabilities: ['nlp', 'vision'],
      version: '1.2.0',
      profiles: [],
      groups: ['eu'],
      address: null,
      metadata: { team: 'search', tier: '1' },
      concurrency: 1,
      status: 'online',
      statusReason: null,
      connected: true,
      metrics: {},
      isLeader: true,
      transport: 'websocket',
      hub: hub.id,
      registeredAt: anna?.welcome.agent?.registeredAt,
      lastHeartbeat: expect.any(String),
      revision: anna?.welcome.agent?.revision,
    })
  })

  test('includes the asker', async () => {
    const [anna] = agents
    if (!anna) throw new Error('unreachable')
    expect(namesOf((await discover(anna, { where: { name: 'anna' } })).agents)).toEqual(['anna'])
  })

  test('against a rule is a bad_frame that names the field', async () => {
    const wrong: readonly (readonly [frame: object, word: string])[] = [
      [{ where: { version: 'newest' } }, 'version'],
      [{ where: { version: '>=1.x.y.z' } }, 'version'],
      [{ where: { version: 1 } }, 'version'],
      [{ where: { status: ['asleep'] } }, 'status'],
      [{ where: { status: 'online' } }, 'status'],
      [{ where: { capabilities: ['nlp'] } }, 'capabilities'],
      [{ where: { capabilities: { all: 'nlp' } } }, 'capabilities'],
      [{ where: { capabilities: { any: Array.from({ length: 21 }, () => 'nlp') } } }, 'capabilities'],
      [{ where: { metadata: { team: 7 } } }, 'metadata'],
      [{ where: { name: '' } }, 'name'],
      [{ where: 'online' }, 'where'],
      [{ limit: 0 }, 'limit'],
      [{ limit: 1001 }, 'limit'],
      [{ limit: 1.5 }, 'limit'],
      [{ limit: '10' }, 'limit'],
      [{ cursor: 'made up' }, 'cursor'],
      [{ cursor: '' }, 'cursor'],
      [{ cursor: 'x'.repeat(1025) }, 'cursor'],
    ]
    for (const [frame, word] of wrong) {
      const error = await asker.refusal({ type: 'discover', ...frame })
      expect(error, JSON.stringify(frame).slice(0, 80)).toMatchObject({ code: 'bad_frame', retryable: false })
      expect(error.message).toContain(word)
    }
    expect((await discover(asker, { limit: 1000 })).agents).toHaveLength(4)
  })
})

describe.each(PLACES)('discover, on %s with %i hub(s)', (core, hubs) => {
  test('pages through everybody in order of name, without loss and without repetition', async () => {
    await using mesh = await startSpan(core, hubs)
    const names = Array.from({ length: 45 }, (_, i) => `n-${(i * 7919) % 10_007}`)
    const agents = await Promise.all(names.map((name, i) => join(i % 2 ? mesh.near : mesh.far, name)))
    await Promise.all(names.map((name) => seen(mesh.near, `id-${name}`)))
    await using asker = await connectObserver(mesh.near)
    for (const limit of [1, 7, 44, 45, 46]) {
      const found: string[] = []
      let cursor: string | null = null
      let pages = 0
      do {
        const page: DiscoverResult = await discover(asker, { limit, cursor })
        found.push(...namesOf(page.agents))
        cursor = page.cursor
        pages += 1
      } while (cursor !== null)
      expect(found).toEqual(names.toSorted())
      expect(pages).toBe(Math.ceil(names.length / limit))
    }
    for (const agent of agents) await agent.cut()
  })

  test('gives 100 where no limit is said', async () => {
    await using mesh = await startSpan(core, hubs)
    const names = Array.from({ length: 101 }, (_, i) => `n-${1000 + i}`)
    const agents = await Promise.all(names.map((name) => join(mesh.near, name)))
    const [asker] = agents
    if (!asker) throw new Error('unreachable')
    const first = await discover(asker)
    expect(namesOf(first.agents)).toEqual(names.slice(0, 100))
    expect(namesOf((await discover(asker, { cursor: first.cursor })).agents)).toEqual(names.slice(100))
    await Promise.all(agents.map((agent) => agent.cut()))
  })

  test('goes on after the last page though agents came and went between pages', async () => {
    await using mesh = await startSpan(core, hubs)
    const agents = new Map<string, TestAgent>()
    for (const name of ['bbb', 'ddd', 'fff', 'hhh']) agents.set(name, await join(mesh.near, name))
    await using asker = await connectObserver(mesh.near)
    const first = await discover(asker, { limit: 2 })
    expect(namesOf(first.agents)).toEqual(['bbb', 'ddd'])
    // The one that the cursor points at goes; one before it and two behind it come.
    await agents.get('ddd')?.request({ type: 'bye' })
    for (const name of ['aaa', 'eee', 'iii']) agents.set(name, await join(mesh.near, name))
    const second = await discover(asker, { limit: 2, cursor: first.cursor })
    expect(namesOf(second.agents)).toEqual(['eee', 'fff'])
    const third = await discover(asker, { limit: 10, cursor: second.cursor })
    expect(namesOf(third.agents)).toEqual(['hhh', 'iii'])
    expect(third.cursor).toBeNull()
    for (const agent of agents.values()) await agent.cut()
  })

  test('shows on the hub that answered what it answered: registration, update, bye', async () => {
    await using mesh = await startSpan(core, hubs)
    await using alice = await join(mesh.near, 'alice')
    for (let i = 0; i < 5; i++) {
      const bob = await join(mesh.near, 'bob')
      expect(namesOf((await discover(bob)).agents)).toEqual(['alice', 'bob'])
      await bob.request({ type: 'update', groups: [`g${i}`] })
      expect(namesOf((await discover(alice, { where: { group: `g${i}` } })).agents)).toEqual(['bob'])
      await bob.request({ type: 'bye', keep: i % 2 === 0 })
      expect(namesOf((await discover(alice)).agents)).toEqual(['alice'])
    }
  })

  test('follows a renamed agent', async () => {
    await using mesh = await startSpan(core, hubs)
    await using alice = await join(mesh.near, 'alice')
    const bob = await join(mesh.far, 'bob')
    await using renamed = await connectAgent(mesh.near, { id: bob.id, name: 'aaron', session: bob.session })
    expect(namesOf((await discover(renamed)).agents)).toEqual(['aaron', 'alice'])
    expect((await discover(alice, { where: { name: 'bob' } })).agents).toEqual([])
    expect(await sendRefused(alice, { name: 'bob' }, 1)).toBe('unknown_target')
  })
})

test('discover, leader and what is open go on while redis is stopped; send is refused with store_unavailable', async () => {
  await using redis = await startRedis()
  await using hub = await startHub({ port: 0, logLevel: 'silent', redisUrl: redis.url })
  const alice = await join(hub, 'alice')
  await using bob = await join(hub, 'bob', { capabilities: ['vision'] })
  await redis.kill()
  await expect
    .poll(() => sendRefused(alice, bob.id, 1).catch(() => 'stored'), { interval: 10 })
    .toBe('store_unavailable')
  expect(namesOf((await discover(alice)).agents)).toEqual(['alice', 'bob'])
  expect(namesOf((await discover(alice, { where: { capabilities: { all: ['vision'] } } })).agents)).toEqual([
    'bob',
  ])
  expect(await alice.request({ type: 'leader' })).toMatchObject({ leader: { agentId: 'id-alice' } })
  expect(await alice.refusal({ type: 'update', groups: ['eu'] })).toMatchObject({
    code: 'store_unavailable',
    retryable: true,
  })
  await using observer = await connectObserver(hub)
  expect(await observer.request({ type: 'subscribe' })).toMatchObject({
    agents: [{ name: 'alice' }, { name: 'bob' }],
    last: true,
  })
  await expect(join(hub, 'carol')).rejects.toMatchObject({ code: 'store_unavailable' })
  await redis.restart()
  // The store lost everything: who was registered connects again, and is there.
  expect((await alice.closed).code).toBe(4000)
  await using back = await join(hub, 'alice')
  expect(namesOf((await discover(back)).agents)).toContain('alice')
})
