import { describe, expect, test } from 'vitest'
import type { AgentInfo } from '../../protocol/agent.ts'
import type { AgentsPage } from '../../src/hub/operations.ts'
import { Api } from '../support/api.ts'
import { MeshClient } from '../support/spec-ai.ts'
import { asker, join, NLP, PLACES, send, startSpan, watchDead } from '../support/talk.ts'

const namesOf = ({ agents }: AgentsPage): string[] => agents.map(({ id }) => id)

describe.each(PLACES)('agents by the operations API, on %s with %i hub(s)', (core, hubs) => {
  test('are listed alike by every hub, at once', async () => {
    await using mesh = await startSpan(core, hubs)
    await using alice = await join(mesh.near, 'alice')
    for (const hub of mesh.hubs) {
      const page = await new Api(hub).get<AgentsPage>('/agents')
      expect(page.agents).toMatchObject([
        { id: 'alice', name: 'alice-name', status: 'online', hub: mesh.near.id },
      ])
      expect(page.counts).toEqual({ online: 1, degraded: 0, offline: 0 })
    }
    await alice.request({ type: 'bye', keep: true })
    for (const hub of mesh.hubs) {
      const page = await new Api(hub).get<AgentsPage>('/agents')
      expect(page.agents).toMatchObject([{ id: 'alice', status: 'offline', connected: false }])
      expect(page.counts).toEqual({ online: 0, degraded: 0, offline: 1 })
    }
  })

  test('are listed by every filter of discover, and by several at once', async () => {
    await using mesh = await startSpan(core, hubs)
    const api = new Api(mesh.far)
    await using alice = await join(mesh.near, 'alice', {
      capabilities: ['nlp', 'vision'],
      groups: ['eu'],
      version: '1.4.0',
      metadata: { team: 'search', 'a[b]=&': 'c d' },
    })
    await using bob = await join(mesh.near, 'bob', {
      capabilities: ['nlp'],
      version: '2.0.0',
      groups: ['us'],
    })
    await using carol = await join(mesh.far, 'carol', { capabilities: ['audio'] })
    await carol.request({ type: 'update', status: 'degraded', statusReason: 'hot' })
    for (const [query, found] of [
      ['', 'alice bob carol'],
      ['?capability=nlp', 'alice bob'],
      ['?capability=nlp&capability=vision', 'alice'],
      ['?anyCapability=vision&anyCapability=audio', 'alice carol'],
      ['?capability=nlp&anyCapability=audio', ''],
      ['?status=online', 'alice bob'],
      ['?status=degraded&status=offline', 'carol'],
      ['?name=bob-name', 'bob'],
      ['?name=bob', ''],
      ['?group=eu', 'alice'],
      [`?version=${encodeURIComponent('^1.2')}`, 'alice'],
      ['?metadata[team]=search', 'alice'],
      [`?metadata[team]=search&${encodeURIComponent('metadata[a[b]=&]')}=c+d`, 'alice'],
      ['?metadata[team]=search&metadata[x]=y', ''],
      ['?metadata[__proto__]=x', ''],
      ['?namespace=other', ''],
    ] as const)
      expect([query, namesOf(await api.get<AgentsPage>(`/agents${query}`)).join(' ')]).toEqual([query, found])
    expect(alice.id).not.toBe(bob.id)
  })

  test('are listed page by page', async () => {
    await using mesh = await startSpan(core, hubs)
    const ids = ['a', 'b', 'c', 'd', 'e']
    const agents = await Promise.all(ids.map((id) => join(mesh.near, id)))
    const found: string[] = []
    let cursor = ''
    for (const hub of [...mesh.hubs, ...mesh.hubs, ...mesh.hubs]) {
      const page = await new Api(hub).get<AgentsPage>(`/agents?limit=2${cursor}`)
      expect(page.counts.online).toBe(5)
      found.push(...namesOf(page))
      if (page.cursor === null) break
      cursor = `&cursor=${page.cursor}`
    }
    expect(found).toEqual(ids)
    await Promise.all(agents.map((agent) => agent.cut()))
  })

  test('are got one by one, in their namespace, whatever their ids are', async () => {
    await using mesh = await startSpan(core, hubs)
    const api = new Api(mesh.far)
    await using _ = await join(mesh.near, 'a.b:c_-', { name: 'abc', namespace: 'one' })
    const member = new MeshClient(mesh.near)
    const strange = `ü/%2F?#${'ß'.repeat(200)}`
    await member.register(strange)
    expect(await api.get<AgentInfo>('/agents/a.b:c_-?namespace=one')).toMatchObject({ id: 'a.b:c_-' })
    expect(await api.get<AgentInfo>(`/agents/${encodeURIComponent(strange)}`)).toMatchObject({
      id: strange,
      transport: 'http',
    })
    expect(await api.refused('GET', '/agents/a.b:c_-')).toMatchObject({
      status: 404,
      code: 'unknown_target',
      retryable: false,
    })
  })

  test('are unregistered: the socket is closed 4410, and what is left goes to the dead letters', async () => {
    await using mesh = await startSpan(core, hubs)
    const api = new Api(mesh.far)
    await using dead = await watchDead(mesh.near)
    await using alice = await join(mesh.near, 'alice', asker)
    await using bob = await join(mesh.near, 'bob')
    await using carol = await join(mesh.far, 'carol', asker)
    await send(alice, 'bob', 'unread')
    await send(alice, NLP, 'work')
    await bob.next('message')
    await api.delete('/agents/bob')
    expect(await bob.closed).toEqual({ code: 4410, reason: 'unregistered' })
    expect(await dead.next()).toMatchObject({ agentId: 'bob', reason: 'unregistered' })
    for (const hub of mesh.hubs)
      expect(await new Api(hub).refused('GET', '/agents/bob')).toMatchObject({ status: 404 })
    expect(await api.refused('DELETE', '/agents/bob')).toMatchObject({ status: 404, code: 'unknown_target' })
    // Work goes to the next one.
    expect(await api.get('/queues')).toMatchObject({
      queues: [{ capability: 'nlp', waiting: 1, inProgress: 0 }],
    })
    expect(carol.id).toBe('carol')
  })

  test('that are away or came over HTTP are unregistered too', async () => {
    await using mesh = await startSpan(core, hubs)
    const api = new Api(mesh.far)
    await using alice = await join(mesh.near, 'alice')
    await alice.request({ type: 'bye', keep: true })
    const members = new MeshClient(mesh.near)
    await members.register('member')
    for (const id of ['alice', 'member']) await api.delete(`/agents/${id}`)
    expect((await api.get<AgentsPage>('/agents')).agents).toEqual([])
    expect((await members.beat('member')).status).toBe(404)
  })
})
