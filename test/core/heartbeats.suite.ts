import { describe, expect, test } from 'vitest'
import type { Core } from '../../src/core/core.ts'
import type { EnrolRequest, EnrolResult } from '../../src/core/registry.ts'
import type { Destination, Sender, SendOutcome } from '../../src/core/sends.ts'
import {
  type CoreFactory,
  fill,
  frame,
  join,
  kindsOf,
  leave,
  NEVER_MS,
  NS,
  registerRequest,
  registration,
  sendOf,
  store,
  toAgent,
  toAll,
  toQueue,
} from '../support/core.ts'

type Enrolled = Extract<EnrolResult, { outcome: 'registered' }>

const enrolRequest = (agentId: string, more: Partial<EnrolRequest> = {}): EnrolRequest => ({
  agentId,
  registration: registration(agentId, { transport: 'http' }),
  door: 'http',
  staleMs: NEVER_MS,
  ...more,
})

async function enrol(core: Core, agentId: string, more: Partial<EnrolRequest> = {}): Promise<Enrolled> {
  const result = await core.registry.enrol(NS, enrolRequest(agentId, more))
  if (result.outcome !== 'registered') throw new Error(`${agentId}: ${result.outcome}`)
  return result
}

const beat = (core: Core, agentId: string, more = {}) =>
  core.registry.beat(NS, { agentId, door: 'http', staleMs: NEVER_MS, ...more })

async function stateOf(core: Core, agentId: string) {
  const { agents } = await core.registry.snapshot(NS)
  return agents.find(({ id }) => id === agentId)?.state
}

/** Silent until it is offline. */
async function silence(core: Core, agentId: string): Promise<void> {
  await beat(core, agentId, { staleMs: 1 })
  await expect.poll(() => core.registry.due(NS, 10), { interval: 5 }).toContain(agentId)
  await core.registry.expire(NS, agentId)
}

const door = (agentId: string): Sender => ({
  agentId,
  fence: 0,
  hub: 'hub-1',
  producer: null,
  door: 'http',
})

const peek = (core: Core, agentId: string, maxBytes = 1_000_000) =>
  core.inboxes.peek(NS, { agentId, door: 'http' }, maxBytes)

const GONE = { fence: null, departure: 'unregister', graceMs: 0, marks: null, door: 'http' } as const

/** Stores a send; who gets copies of a broadcast may have to be found out first. */
async function tell(core: Core, from: Sender, to: Destination, id: string): Promise<SendOutcome> {
  const outcome = await store(core, sendOf(from, to, id))
  return outcome.outcome === 'moved' ? store(core, sendOf(from, to, id)) : outcome
}

const lengthOf = async (core: Core, agentId: string): Promise<number> =>
  (await core.inboxes.read(NS, agentId, 'inbox', 0, 10_000)).entries.length

/** Agents that live by heartbeats: what the ports `Registry`, `Sends` and `Inboxes` say of them. */
export function heartbeatsSuite({ openCore }: CoreFactory): void {
  describe('agents that live by heartbeats', () => {
    test('one is registered online and not connected, and leads like any other', async () => {
      const core = await openCore()
      const { events, resumed } = await enrol(core, 'h1')
      expect(kindsOf(events)).toEqual(['agent.registered', 'leader.changed'])
      expect(resumed).toBe(false)
      const { agents, leader, beats } = await core.registry.snapshot(NS)
      expect(agents[0]?.state).toMatchObject({ status: 'online', connected: false, hub: null, door: 'http' })
      expect(leader).toBe('h1')
      expect(beats.get('h1')).toBeGreaterThan(Date.now() - 60_000)
    })

    test('registering again keeps registeredAt and leadership and refreshes the rest', async () => {
      const core = await openCore()
      const { events } = await enrol(core, 'h1')
      await enrol(core, 'h2')
      const again = await enrol(core, 'h1', {
        registration: registration('h1', { transport: 'http', capabilities: ['x y'] }),
      })
      expect(again.resumed).toBe(true)
      expect(kindsOf(again.events)).toEqual(['agent.updated'])
      const { agents, leader } = await core.registry.snapshot(NS)
      const h1 = agents.find(({ id }) => id === 'h1')
      expect(h1?.registration.capabilities).toEqual(['x y'])
      expect(h1?.state.registeredAt).toBe(events[0]?.agent?.state.registeredAt)
      expect(leader).toBe('h1')
    })

    test('a heartbeat puts the deadline off without an event', async () => {
      const core = await openCore()
      await enrol(core, 'h1', { staleMs: 1 })
      await expect.poll(() => core.registry.due(NS, 10), { interval: 5 }).toEqual(['h1'])
      const { revision } = await core.registry.snapshot(NS)
      expect(await beat(core, 'h1')).toMatchObject({ outcome: 'alive', events: [] })
      expect(await core.registry.due(NS, 10)).toEqual([])
      expect(await core.registry.expire(NS, 'h1')).toEqual([])
      expect((await core.registry.snapshot(NS)).revision).toBe(revision)
    })

    test('a heartbeat tells a change of status or reason', async () => {
      const core = await openCore()
      await enrol(core, 'h1')
      const healthy = await beat(core, 'h1', { statusReason: 'healthy' })
      expect(healthy.outcome === 'alive' && kindsOf(healthy.events)).toEqual(['agent.updated'])
      expect(await beat(core, 'h1', { statusReason: 'healthy' })).toMatchObject({ events: [] })
      const degraded = await beat(core, 'h1', { status: 'degraded', statusReason: 'slow' })
      expect(degraded.outcome === 'alive' && kindsOf(degraded.events)).toEqual(['agent.status_changed'])
      expect(await stateOf(core, 'h1')).toMatchObject({ status: 'degraded', statusReason: 'slow' })
    })

    test('silence makes it offline, the eldest of the others leads, and a heartbeat brings it back', async () => {
      const core = await openCore()
      const { events } = await enrol(core, 'h1')
      await enrol(core, 'h2')
      await silence(core, 'h1')
      expect(await stateOf(core, 'h1')).toMatchObject({ status: 'offline' })
      expect((await core.registry.snapshot(NS)).leader).toBe('h2')
      const back = await beat(core, 'h1')
      expect(back.outcome === 'alive' && kindsOf(back.events)).toEqual(['agent.status_changed'])
      expect(await stateOf(core, 'h1')).toMatchObject({
        status: 'online',
        registeredAt: events[0]?.agent?.state.registeredAt,
      })
      expect((await core.registry.snapshot(NS)).leader).toBe('h2')
      expect(back).toMatchObject({ leader: 'h2' })
    })

    test('a namespace whose only agent was silent has its leader back with the heartbeat', async () => {
      const core = await openCore()
      await enrol(core, 'h1')
      await silence(core, 'h1')
      expect((await core.registry.snapshot(NS)).leader).toBe(null)
      await beat(core, 'h1')
      expect((await core.registry.snapshot(NS)).leader).toBe('h1')
    })

    test('after the retention period it is unregistered, and its heartbeat unknown', async () => {
      const core = await openCore({ retentionMs: 1 })
      await enrol(core, 'h1')
      await silence(core, 'h1')
      await expect.poll(() => core.registry.due(NS, 10), { interval: 5 }).toEqual(['h1'])
      expect(kindsOf(await core.registry.expire(NS, 'h1'))).toEqual(['agent.unregistered'])
      expect(await beat(core, 'h1')).toEqual({ outcome: 'unknown' })
    })

    test('a door does nothing to agents that are not its own', async () => {
      const core = await openCore()
      const alice = await join(core, 'alice')
      await core.registry.enrol(NS, enrolRequest('m1', { door: 'mxp' }))
      await fill(core, alice.sender, toAgent('alice'), ['a'])
      for (const agentId of ['alice', 'm1', 'nobody']) {
        expect(await beat(core, agentId)).toEqual({ outcome: 'unknown' })
        expect(await peek(core, agentId)).toEqual([])
        await core.inboxes.acknowledge(NS, { agentId, door: 'http' }, ['a'])
        const left = {
          agentId,
          fence: null,
          departure: 'unregister',
          graceMs: 0,
          marks: null,
          door: 'http',
        } as const
        expect(await core.registry.leave(NS, left)).toEqual({ outcome: 'fenced' })
      }
      expect(await core.registry.enrol(NS, enrolRequest('alice'))).toEqual({ outcome: 'held' })
      expect(await core.registry.enrol(NS, enrolRequest('m1'))).toEqual({ outcome: 'held' })
      expect(await lengthOf(core, 'alice')).toBe(1)
    })

    test('one is its first owner’s while it is registered: nobody else acts for it, at whatever hub', async () => {
      const core = await openCore()
      const mine = { owner: 'team' }
      await enrol(core, 'h1', mine)
      expect(await stateOf(core, 'h1')).toMatchObject(mine)
      await tell(core, door('x'), toAll(), 'a')
      const { revision } = await core.registry.snapshot(NS)
      for (const owner of ['mallory', 'team:1', 'tea']) {
        const member = { agentId: 'h1', door: 'http', owner } as const
        const notOwner = { outcome: 'not_owner' }
        expect(await core.registry.enrol(NS, enrolRequest('h1', { owner }))).toEqual(notOwner)
        expect(await beat(core, 'h1', { owner, statusReason: 'mine' })).toEqual(notOwner)
        expect(await core.inboxes.peek(NS, member, 1_000)).toBe('not_owner')
        expect(await core.inboxes.acknowledge(NS, member, ['a'])).toBe('not_owner')
        const left = { ...GONE, agentId: 'h1', owner }
        expect(await core.registry.leave(NS, left)).toEqual(notOwner)
        expect(await store(core, sendOf({ ...door('h1'), owner }, toAll(), 'b'))).toEqual({
          outcome: 'fenced',
        })
        const session = registerRequest('h1', { owner, proved: true })
        expect(await core.registry.register(NS, session)).toEqual(notOwner)
      }
      expect((await core.registry.snapshot(NS)).revision).toBe(revision)
      // A beat and a registration keep whose it is.
      expect(await beat(core, 'h1', mine)).toMatchObject({ outcome: 'alive' })
      expect(await enrol(core, 'h1', mine)).toMatchObject({ resumed: true })
      const member = { agentId: 'h1', door: 'http', ...mine } as const
      expect(await core.inboxes.peek(NS, member, 1_000)).toEqual([frame('a')])
      expect(await core.inboxes.acknowledge(NS, member, ['a'])).toBe('done')
      expect(await peek(core, 'h1')).toEqual([])
      expect(await tell(core, { ...door('h1'), ...mine }, toAll(), 'b')).toMatchObject({
        outcome: 'broadcast',
      })
      expect((await core.registry.snapshot(NS)).beats.get('h1')).toBeGreaterThan(Date.now() - 60_000)
      expect(await core.registry.leave(NS, { ...GONE, agentId: 'h1', ...mine })).toMatchObject({
        outcome: 'changed',
      })
      expect(await enrol(core, 'h1', { owner: 'mallory' })).toMatchObject({ resumed: false })
    })

    test('nobody’s is no owner’s until one registers it, and then stays that one’s', async () => {
      const core = await openCore()
      await enrol(core, 'h1')
      expect(await beat(core, 'h1', { owner: 'team' })).toEqual({ outcome: 'not_owner' })
      await enrol(core, 'h1', { owner: 'team' })
      await enrol(core, 'h1')
      expect(await beat(core, 'h1', { owner: 'team' })).toMatchObject({ outcome: 'alive' })
      expect(await beat(core, 'h1', { owner: 'other' })).toEqual({ outcome: 'not_owner' })
    })

    test('not_owner comes before held; of ids that nobody has, and of other doors, owners are not asked', async () => {
      const core = await openCore()
      await join(core, 'alice', { owner: 'alice' })
      const owner = 'mallory'
      expect(await core.registry.enrol(NS, enrolRequest('alice', { owner }))).toEqual({
        outcome: 'not_owner',
      })
      expect(await core.registry.enrol(NS, enrolRequest('alice', { owner: 'alice' }))).toEqual({
        outcome: 'held',
      })
      for (const agentId of ['alice', 'nobody']) {
        expect(await beat(core, agentId, { owner })).toEqual({ outcome: 'unknown' })
        expect(await core.inboxes.peek(NS, { agentId, door: 'http', owner }, 1_000)).toEqual([])
        expect(await core.inboxes.acknowledge(NS, { agentId, door: 'http', owner }, ['a'])).toBe('done')
        expect(await core.registry.leave(NS, { ...GONE, agentId, owner })).toEqual({ outcome: 'fenced' })
      }
    })

    test('the name of a silent one is its owner’s', async () => {
      const core = await openCore()
      const bob = registration('bob', { transport: 'http' })
      await enrol(core, 'h1', { owner: 'team', registration: bob })
      await silence(core, 'h1')
      const foreign = enrolRequest('h2', { owner: 'mallory', registration: bob })
      expect(await core.registry.enrol(NS, foreign)).toEqual({ outcome: 'name_taken', holder: 'h1' })
      const heir = await enrol(core, 'h3', { owner: 'team', registration: bob })
      expect(kindsOf(heir.events).slice(0, 2)).toEqual(['agent.unregistered', 'agent.registered'])
    })

    test('a source that has to be registered is refused where it is not', async () => {
      const core = await openCore()
      await enrol(core, 'h1', { owner: 'team' })
      const stranger = { ...door('stranger'), owner: 'team' }
      const must = { registered: true }
      expect(await store(core, sendOf({ ...stranger, ...must }, toAgent('h1'), 'a'))).toEqual({
        outcome: 'fenced',
      })
      expect(await store(core, sendOf(stranger, toAgent('h1'), 'b'))).toMatchObject({ outcome: 'stored' })
      const own = { ...door('h1'), owner: 'team', ...must }
      expect(await store(core, sendOf(own, toAgent('h1'), 'c'))).toMatchObject({ outcome: 'stored' })
      expect(await peek(core, 'h1')).toEqual([frame('b'), frame('c')])
    })

    test('a door ends nobody for the sake of a name but an offline agent of its own', async () => {
      const core = await openCore()
      const alice = await join(core, 'a1', { fields: { name: 'alice' } })
      const wanted = enrolRequest('h1', { registration: registration('alice', { transport: 'http' }) })
      expect(await core.registry.enrol(NS, wanted)).toEqual({ outcome: 'name_taken', holder: 'a1' })
      await leave(core, alice, { departure: 'keep' })
      expect(await core.registry.enrol(NS, wanted)).toEqual({ outcome: 'name_taken', holder: 'a1' })
      await enrol(core, 'h2', { registration: registration('bob', { transport: 'http' }) })
      await silence(core, 'h2')
      const heir = await enrol(core, 'h3', { registration: registration('bob', { transport: 'http' }) })
      expect(kindsOf(heir.events)).toEqual(['agent.unregistered', 'agent.registered', 'leader.changed'])
    })

    test('a session is held off while it lives, and may have the id and the inbox once it is offline', async () => {
      const core = await openCore()
      const alice = await join(core, 'alice')
      await enrol(core, 'h1')
      expect(await core.registry.register(NS, registerRequest('h1'))).toMatchObject({
        outcome: 'held',
        hub: null,
      })
      await fill(core, alice.sender, toAgent('h1'), ['a'])
      await tell(core, alice.sender, toAll(), 'b')
      await silence(core, 'h1')
      const { pending } = await join(core, 'h1')
      expect(pending).toBe(2)
      expect(await stateOf(core, 'h1')).toMatchObject({ connected: true, status: 'online' })
      expect(await stateOf(core, 'h1')).not.toHaveProperty('door')
      const { upTo, head } = await core.broadcasts.open(NS, 'h1')
      expect(upTo).toBe(head)
      expect(await peek(core, 'h1')).toEqual([])
    })

    test('leaving unregisters it, with its inbox given up', async () => {
      const core = await openCore()
      const alice = await join(core, 'alice')
      await enrol(core, 'h1')
      await tell(core, alice.sender, toAll(), 'a')
      await core.registry.leave(NS, {
        agentId: 'h1',
        fence: null,
        door: 'http',
        departure: 'unregister',
        graceMs: 0,
        marks: null,
      })
      expect(await stateOf(core, 'h1')).toBe(undefined)
      const letters = await core.deadLetters.list(NS, null, 10)
      expect(letters.map(({ messageId, reason }) => [messageId, reason])).toEqual([['a', 'unregistered']])
    })

    test('what it can do counts for broadcasts, and for no work queue', async () => {
      const core = await openCore()
      const alice = await join(core, 'alice', { fields: { capabilities: ['other'] } })
      await enrol(core, 'h1')
      const work = await store(core, sendOf(alice.sender, toQueue('nlp', 'fail'), 'w'))
      expect(work).toMatchObject({ outcome: 'refused', code: 'no_capable_agent' })
      const to = { kind: 'members', of: 'capability', value: 'nlp', echo: false } as const
      expect(await tell(core, alice.sender, to, 'b')).toMatchObject({ recipients: 1 })
      expect(await peek(core, 'h1')).toEqual([frame('b')])
    })

    test('a broadcast is copied to those that are not offline, between what was sent before and after it', async () => {
      const core = await openCore()
      const alice = await join(core, 'alice')
      await enrol(core, 'h1')
      await enrol(core, 'h2')
      await silence(core, 'h2')
      await fill(core, alice.sender, toAgent('h1'), ['a'])
      expect(await tell(core, alice.sender, toAll(), 'b')).toMatchObject({
        outcome: 'broadcast',
        recipients: 1,
      })
      await fill(core, alice.sender, toAgent('h1'), ['c'])
      expect(await peek(core, 'h1')).toEqual([frame('a'), frame('b'), frame('c')])
      await beat(core, 'h2')
      expect(await peek(core, 'h2')).toEqual([])
    })

    test('a door sends for its own agents and for who is not registered, and learns whom a broadcast went to', async () => {
      const core = await openCore()
      await join(core, 'alice')
      await enrol(core, 'h1')
      await enrol(core, 'h2')
      expect(await store(core, sendOf(door('alice'), toAgent('h1'), 'x'))).toEqual({ outcome: 'fenced' })
      expect(await store(core, sendOf(door('h1'), toAgent('gone'), 'x'))).toMatchObject({
        outcome: 'refused',
        code: 'unknown_target',
      })
      expect(await store(core, sendOf(door('h1'), toAgent('h2'), 'a'))).toMatchObject({ outcome: 'stored' })
      const all = async (from: string, id: string) => {
        const outcome = await tell(core, door(from), toAll(), id)
        return outcome.outcome === 'broadcast' && outcome.agentIds?.toSorted()
      }
      expect(await all('h1', 'b')).toEqual(['alice', 'h2'])
      expect(await all('stranger', 'c')).toEqual(['alice', 'h1', 'h2'])
      expect(await peek(core, 'h1')).toEqual([frame('c')])
      expect(await peek(core, 'h2')).toEqual([frame('a'), frame('b'), frame('c')])
    })

    test('acknowledging takes what is named out of that inbox alone', async () => {
      const core = await openCore()
      await enrol(core, 'h1')
      await enrol(core, 'h2')
      for (const id of ['a', 'b']) await tell(core, door('x'), toAll(), id)
      await core.inboxes.acknowledge(NS, { agentId: 'h1', door: 'http' }, ['a', 'unknown'])
      expect(await peek(core, 'h1')).toEqual([frame('b')])
      expect(await peek(core, 'h2')).toEqual([frame('a'), frame('b')])
      expect(await peek(core, 'h2', 1)).toEqual([frame('a')])
    })

    test('an inbox gives up its oldest beyond its bound, and a sender that asked is told', async () => {
      const core = await openCore({ httpInboxMax: 2, inboxMax: 1 })
      const alice = await join(core, 'alice')
      await enrol(core, 'h1')
      for (const id of ['a', 'b', 'c', 'd']) {
        expect(await store(core, sendOf(alice.sender, toAgent('h1'), id, { receipt: true }))).toMatchObject({
          outcome: 'stored',
        })
      }
      expect(await peek(core, 'h1')).toEqual([frame('c'), frame('d')])
      await core.inboxes.expireAbsent(NS, 100)
      expect(await lengthOf(core, 'h1')).toBe(2)
      const letters = await core.deadLetters.list(NS, null, 10)
      expect(letters.map(({ messageId, reason }) => [messageId, reason])).toEqual([
        ['a', 'inbox_overflow'],
        ['b', 'inbox_overflow'],
      ])
      const receipts = await core.inboxes.read(NS, 'alice', 'replies', 0, 10)
      expect(receipts.entries.map(({ text }) => JSON.parse(text) as object)).toMatchObject([
        { id: 'a', status: 'dead_lettered', reason: 'inbox_overflow' },
        { id: 'b', status: 'dead_lettered', reason: 'inbox_overflow' },
      ])
    })

    test('what its inbox has given up does not come back when there is room again', async () => {
      const core = await openCore({ httpInboxMax: 2 })
      const alice = await join(core, 'alice')
      await enrol(core, 'h1')
      await fill(core, alice.sender, toAgent('h1'), ['a', 'b', 'c'])
      await core.inboxes.acknowledge(NS, { agentId: 'h1', door: 'http' }, ['b'])
      expect(await peek(core, 'h1')).toEqual([frame('c')])
    })

    test('a dead letter of it can be sent again, whatever its inbox holds', async () => {
      const core = await openCore({ httpInboxMax: 1, inboxMax: 1 })
      const alice = await join(core, 'alice')
      await enrol(core, 'h1')
      await fill(core, alice.sender, toAgent('h1'), ['a', 'b'])
      await core.inboxes.expireAbsent(NS, 100)
      const [letter] = await core.deadLetters.list(NS, null, 10)
      const again = { position: letter?.position ?? '', text: letter?.text ?? '', expiresAt: null }
      expect(await core.deadLetters.redrive(NS, [again])).toEqual(['redriven'])
      expect(await peek(core, 'h1')).toEqual([frame('a')])
    })

    test('registering brings an offline one back, with what has come meanwhile', async () => {
      const core = await openCore()
      const alice = await join(core, 'alice')
      await enrol(core, 'h1')
      await silence(core, 'h1')
      await fill(core, alice.sender, toAgent('h1'), ['a'])
      expect(kindsOf((await enrol(core, 'h1')).events)).toEqual(['agent.updated', 'agent.status_changed'])
      expect(await peek(core, 'h1')).toEqual([frame('a')])
    })

    test('an entry waits for its time and no longer, whatever its sender said', async () => {
      const core = await openCore({ httpMessageTtlMs: 1 })
      const alice = await join(core, 'alice')
      await enrol(core, 'h1')
      await fill(core, alice.sender, toAgent('h1'), ['a'])
      await expect.poll(() => peek(core, 'h1'), { interval: 5 }).toEqual([])
      expect(await core.inboxes.expireAbsent(NS, 100)).toBe(1)
      expect((await core.deadLetters.list(NS, null, 10))[0]).toMatchObject({ reason: 'expired' })
    })
  })
}
