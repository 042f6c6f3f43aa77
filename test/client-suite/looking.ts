import { expect } from './expect.ts'
import { untilEvent } from './stage.ts'
import type { Case } from './stage.ts'

export const LOOKING: readonly Case[] = [
  {
    title: 'discover finds agents by what they are, page by page',
    async run({ join }) {
      const alice = await join('alice', { version: '1.2.0', groups: ['eu'] })
      await join('bob', { capabilities: ['ocr', 'nlp'], metadata: { team: 'search' } })
      const carol = await join('carol', { capabilities: ['ocr'] })
      await carol.close()
      const found = async (...where: Parameters<typeof alice.discover>): Promise<readonly string[]> =>
        (await alice.discover(...where)).agents.map(({ id }) => id)
      expect(await found()).toEqual(['alice', 'bob'])
      expect(await found({ capabilities: { any: ['ocr'] } })).toEqual(['bob'])
      expect(await found({ version: '^1.0', group: 'eu' })).toEqual(['alice'])
      expect(await found({ metadata: { team: 'search' } })).toEqual(['bob'])
      const all = []
      for await (const { id } of alice.discoverAll({ status: ['online', 'offline'] }, { limit: 1 }))
        all.push(id)
      expect(all).toEqual(['alice', 'bob', 'carol'])
      await expect(alice.discover({ version: 'x'.repeat(300) })).rejects.toMatchObject({ code: 'bad_frame' })
    },
  },
  {
    title: 'a watch is a live map, and tells each change',
    async run({ join }) {
      const alice = await join('alice')
      const watch = alice.watch({ capabilities: { all: ['ocr'] } })
      await watch.ready
      const bob = await join('bob', { capabilities: ['ocr'] })
      expect(await untilEvent(watch, () => true)).toMatchObject({
        event: 'list',
        reason: 'first',
        agents: [],
      })
      await untilEvent(watch, ({ event }) => event === 'agent.registered')
      expect([...watch.agents.keys()]).toEqual(['bob'])
      await bob.update({ status: 'degraded', statusReason: 'hot', metadata: { rack: '7' } })
      await untilEvent(watch, () => watch.agents.get('bob')?.metadata['rack'] === '7')
      expect(watch.agents.get('bob')).toMatchObject({ status: 'degraded', statusReason: 'hot' })
      expect(bob.agent).toMatchObject({ status: 'degraded' })
      await bob.close({ unregister: true })
      await untilEvent(watch, ({ event }) => event === 'agent.unregistered')
      expect([watch.agents.size, watch.leader.agentId]).toEqual([0, 'alice'])
      watch.close()
      expect((await watch.next()).done).toBe(true)
    },
  },
  {
    title: 'the leader is known, and fenced off when it is deposed',
    async run({ join }) {
      const alice = await join('alice')
      const bob = await join('bob')
      const watch = bob.watch()
      await watch.ready
      const { agentId, term } = await bob.leader()
      expect([agentId, watch.leader]).toEqual(['alice', { agentId, term }])
      await alice.broadcast('led', { asLeader: term })
      await alice.update({ leaderEligible: false })
      await untilEvent(watch, ({ event }) => event === 'leader.changed')
      expect(await bob.leader()).toMatchObject({ agentId: 'bob' })
      await expect(alice.broadcast('led', { asLeader: term })).rejects.toMatchObject({ code: 'stale_term' })
    },
  },
  {
    title: 'an observer sees everybody and is seen by nobody',
    async run({ join, library: { connect }, world: { url } }) {
      const alice = await join('alice')
      const observer = await connect({ url, observer: true })
      expect((await observer.discover()).agents.map(({ id }) => id)).toEqual(['alice'])
      expect((await alice.discover()).agents).toHaveLength(1)
      expect(await observer.leader()).toMatchObject({ agentId: 'alice' })
      await expect(observer.send('alice', 1)).rejects.toMatchObject({ code: 'forbidden' })
      await observer.close()
    },
  },
]
