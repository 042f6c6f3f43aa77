import { describe, expect, it } from 'vitest'
import type { AgentInfo } from '../../protocol/agent.ts'
import type { Event } from '../../protocol/pushes.ts'
import { createMirror, type Mirror } from '../../client/mirror.ts'
import { agentInfo } from '../support/scripted-hub.ts'

const agent = (id: string, fields: Partial<AgentInfo> = {}): AgentInfo =>
  agentInfo({ id, name: id, ...fields })
const base = { type: 'event', subscription: 'w1', at: '2026-11-21T12:00:00.000Z' } as const

function event(revision: number, fields: Readonly<Record<string, unknown>>): Event {
  return { ...base, revision, ...fields } as unknown as Event
}

function listed(...agents: AgentInfo[]): Mirror {
  const mirror = createMirror()
  mirror.page({ revision: 10, agents, last: true, leader: { agentId: 'a', term: 5 } })
  return mirror
}

describe('the mirror of a subscription', () => {
  it('is in force only when the last page has come', () => {
    const mirror = createMirror()
    const leader = { agentId: null, term: 0 }
    expect(mirror.page({ revision: 10, agents: [agent('a')], last: false, leader })).toBe(false)
    expect([mirror.agents.size, mirror.revision]).toEqual([0, null])
    expect(mirror.page({ revision: 10, agents: [agent('b')], last: true, leader })).toBe(true)
    expect([...mirror.agents.keys()]).toEqual(['a', 'b'])
    expect(mirror.revision).toBe(10)
  })

  it('forgets the pages of a list that was interrupted', () => {
    const mirror = createMirror()
    const leader = { agentId: null, term: 0 }
    mirror.page({ revision: 10, agents: [agent('a')], last: false, leader })
    mirror.interrupt()
    mirror.page({ revision: 12, agents: [agent('b')], last: true, leader })
    expect([...mirror.agents.keys()]).toEqual(['b'])
  })

  it('is replaced by a new list, however much smaller', () => {
    const mirror = listed(agent('a'), agent('b'))
    mirror.page({ revision: 20, agents: [agent('c')], last: true, leader: { agentId: 'c', term: 9 } })
    expect([[...mirror.agents.keys()], mirror.revision, mirror.leader.term]).toEqual([['c'], 20, 9])
  })

  it('follows each kind of change', () => {
    const mirror = listed(agent('a'))
    mirror.apply(event(11, { event: 'agent.registered', agentId: 'b', agent: agent('b') }))
    mirror.apply(
      event(12, {
        event: 'agent.status_changed',
        agentId: 'b',
        agent: agent('b', { status: 'offline' }),
        old: 'online',
        new: 'offline',
      }),
    )
    expect(mirror.agents.get('b')?.status).toBe('offline')
    mirror.apply(event(13, { event: 'agent.updated', agentId: 'a', agent: agent('a', { version: '2.0.0' }) }))
    expect(mirror.agents.get('a')?.version).toBe('2.0.0')
    mirror.apply(
      event(13, { event: 'agent.heartbeat', agentId: 'a', agent: agent('a', { metrics: { load: 1 } }) }),
    )
    expect(mirror.agents.get('a')?.metrics).toEqual({ load: 1 })
    mirror.apply(event(14, { event: 'agent.updated', agentId: 'a', agent: agent('a'), matches: false }))
    mirror.apply(event(15, { event: 'agent.unregistered', agentId: 'b', agent: agent('b') }))
    expect([mirror.agents.size, mirror.revision]).toEqual([0, 15])
  })

  it('moves isLeader with the leader', () => {
    const mirror = listed(agent('a', { isLeader: true }), agent('b'))
    mirror.apply(event(11, { event: 'leader.changed', agentId: 'b', term: 11, old: 'a' }))
    expect([mirror.agents.get('a')?.isLeader, mirror.agents.get('b')?.isLeader]).toEqual([false, true])
    expect(mirror.leader).toEqual({ agentId: 'b', term: 11 })
    mirror.apply(event(12, { event: 'leader.changed', agentId: null, term: 11, old: 'b' }))
    expect(mirror.agents.get('b')?.isLeader).toBe(false)
  })

  it('takes a leader it was told on continuing, not an older one', () => {
    const mirror = listed(agent('a', { isLeader: true }), agent('b'))
    mirror.continue({ agentId: 'b', term: 4 })
    expect(mirror.leader.agentId).toBe('a')
    mirror.continue({ agentId: 'b', term: 6 })
    expect([mirror.leader.agentId, mirror.agents.get('b')?.isLeader]).toEqual(['b', true])
  })
})
