import { describe, expect, test } from 'vitest'
import type { HubInfo } from '../../src/hub/operations.ts'
import { Api } from '../support/api.ts'
import { startHubProcess } from '../support/hub-process.ts'
import { newStore } from '../support/hubs.ts'
import { join, PLACES, startSpan } from '../support/talk.ts'

const byHub = async (api: Api, query = ''): Promise<Record<string, number>> => {
  const { hubs } = await api.get<{ hubs: readonly HubInfo[] }>(`/hubs${query}`)
  return Object.fromEntries(hubs.map(({ id, agents }) => [id, agents]))
}

describe.each(PLACES)('hubs by the operations API, on %s with %i hub(s)', (core, hubs) => {
  test('are listed with lease, namespaces and agents, alike by every hub', async () => {
    await using mesh = await startSpan(core, hubs)
    await using _a = await join(mesh.near, 'alice', { namespace: 'one' })
    await using _b = await join(mesh.far, 'bob', { namespace: 'one' })
    await using _c = await join(mesh.far, 'carol', { namespace: 'two' })
    const same = mesh.near === mesh.far
    for (const hub of mesh.hubs) {
      const api = new Api(hub)
      const all = await byHub(api)
      expect(all).toEqual(same ? { [mesh.near.id]: 3 } : { [mesh.near.id]: 1, [mesh.far.id]: 2 })
      const one = await byHub(api, '?namespace=one')
      expect(one).toEqual(same ? { [mesh.near.id]: 2 } : { [mesh.near.id]: 1, [mesh.far.id]: 1 })
      expect(await byHub(api, '?namespace=none')).toEqual({})
      const { hubs: listed } = await api.get<{ hubs: readonly HubInfo[] }>('/hubs')
      for (const { leaseMs, namespaces } of listed) {
        expect(leaseMs).toBeGreaterThan(1_000)
        expect(leaseMs).toBeLessThanOrEqual(15_000)
        expect(namespaces).toContain('one')
      }
      // Who may ask about one namespace is told of no other.
      const { hubs: ofOne } = await api.get<{ hubs: readonly HubInfo[] }>('/hubs?namespace=one')
      for (const { namespaces } of ofOne) expect(namespaces).toEqual(['one'])
      const far = expect.arrayContaining([mesh.far.id])
      expect(await api.get('/namespaces')).toMatchObject({
        namespaces: [
          {
            name: 'one',
            hubs: [mesh.near.id, mesh.far.id].filter((id, i, ids) => ids.indexOf(id) === i).toSorted(),
          },
          { name: 'two', hubs: far },
        ],
      })
    }
  })

  test('tell the leader of a namespace, and its term', async () => {
    await using mesh = await startSpan(core, hubs)
    const api = new Api(mesh.far)
    expect(await api.get('/leader')).toMatchObject({ leader: { agentId: null } })
    await using alice = await join(mesh.near, 'alice')
    await using _ = await join(mesh.near, 'bob')
    const first = await api.get<{ leader: { agentId: string; term: number } }>('/leader')
    expect(first.leader.agentId).toBe('alice')
    await alice.request({ type: 'bye' })
    const second = await api.get<{ leader: { agentId: string; term: number } }>('/leader')
    expect(second.leader.agentId).toBe('bob')
    expect(second.leader.term).toBeGreaterThan(first.leader.term)
    expect(await api.get('/leader?namespace=other')).toMatchObject({ leader: { agentId: null } })
  })
})

test('a hub that was killed is listed until its lease has run out', async () => {
  const { redisUrl = '', keyPrefix = '' } = await newStore('redis')
  const flags = { '--redis-url': redisUrl, '--key-prefix': keyPrefix, '--hub-lease-ms': 1_000 }
  await using one = await startHubProcess(flags)
  await using two = await startHubProcess(flags)
  const api = new Api(new URL(two.url.replace('ws', 'http')).origin)
  await using _ = await join(one, 'alice')
  expect(await byHub(api)).toEqual({ [one.id]: 1, [two.id]: 0 })
  await one.kill()
  await expect.poll(() => byHub(api), { interval: 50, timeout: 5_000 }).toEqual({ [two.id]: 0 })
})
