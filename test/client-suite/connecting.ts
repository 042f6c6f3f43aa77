import type { StatusEvent } from '../../client/api.ts'
import { expect } from './expect.ts'
import { collect, Collector, until, untilEvent } from './stage.ts'
import type { Case } from './stage.ts'

export const CONNECTING: readonly Case[] = [
  {
    title: 'the status stream tells each state, from the first try to the end',
    async run({ join }) {
      const types: string[] = []
      const onStatus = ({ type }: StatusEvent): number => types.push(type)
      const alice = await join('alice', { onStatus })
      const stream = alice.status()
      expect((await stream.next()).value).toMatchObject({ type: 'open', resumed: false, attempt: 0 })
      await alice.close()
      const rest = []
      for await (const { type } of stream) rest.push(type)
      expect(rest).toEqual(['draining', 'closed'])
      expect(types).toEqual(['connecting', 'greeting', 'open', 'draining', 'closed'])
      expect([alice.state, await alice.closed]).toEqual([{ type: 'closed', error: null }, null])
    },
  },
  {
    title: 'connect rejects what the hub refuses for good, a name that stays taken, and what is called off',
    async run({ join }) {
      await expect(join('x')).rejects.toMatchObject({ code: 'invalid_name' })
      await expect(join('alice', { url: 'http://hub' })).rejects.toMatchObject({ code: 'bad_frame' })
      const alice = await join('alice')
      await expect(join('alice', { id: 'other', takenTimeoutMs: 0 })).rejects.toMatchObject({
        code: 'name_taken',
      })
      await expect(join('bob', { signal: AbortSignal.abort() })).rejects.toMatchObject({ name: 'AbortError' })
      const newcomer = await join('alice', { session: alice.session as string })
      expect(await alice.closed).toMatchObject({ code: 'agent_taken' })
      expect(newcomer.state).toMatchObject({ type: 'open', resumed: true })
    },
  },
  {
    title: 'a client that closes lets its handlers finish, and rejects what is left',
    async run({ join }) {
      const alice = await join('alice', { concurrency: 1 })
      const bob = await join('bob')
      const begun = new Collector<() => void>()
      bob.onMessage('query', () => new Promise((resolve) => begun.add(() => resolve('done'))))
      const answer = alice.request('bob', 1)
      const [finish] = await begun.has(1)
      const closing = bob.close()
      finish?.()
      expect((await answer).payload).toBe('done')
      await closing
      const unanswered = alice.request('bob', 2)
      await alice.close()
      await expect(unanswered).rejects.toMatchObject({ name: 'AbortError' })
      await expect(alice.send('bob', 3)).rejects.toMatchObject({ name: 'AbortError' })
    },
  },
  {
    title: 'what is sent to an agent that closed waits for its return',
    async run({ join }) {
      const alice = await join('alice')
      const bob = await join('bob')
      await bob.close()
      for (let n = 0; n < 5; n++) await alice.send('bob', n)
      expect(await collect(await join('bob', { concurrency: 1 })).has(5)).toEqual([0, 1, 2, 3, 4])
    },
  },
  {
    title: 'a connection that is cut is made again: what was sent meanwhile arrives once, a watch goes on',
    async run({ join, world }) {
      const alice = await join('alice')
      const bob = await join('bob', { concurrency: 1 })
      const watch = alice.watch()
      await watch.ready
      const got = collect(bob)
      const sent = []
      for (let round = 0; round < 2; round++) {
        const back = [alice, bob].map((client) => until(client, 'open'))
        for (let n = 0; n < 10; n++) sent.push(alice.send('bob', sent.length))
        await world.cut()
        expect(await Promise.all(back)).toMatchObject([{ resumed: true }, { resumed: true }])
      }
      await Promise.all(sent)
      expect(await got.has(20)).toEqual([...Array(20).keys()])
      await alice.update({ version: '2.0.0' })
      await untilEvent(watch, () => watch.agents.get('alice')?.version === '2.0.0')
    },
  },
  {
    title: 'a hub that nothing comes from is given up, and found again',
    async run({ join, world }) {
      const alice = await join('alice')
      const left = until(alice, 'waiting')
      await world.stall()
      const answer = alice.send('alice', 1)
      expect(await left).toMatchObject({ cause: { reason: 'silent', code: null } })
      const back = until(alice, 'open')
      await world.heal()
      await back
      expect(await answer).toMatchObject({ recipients: 1 })
    },
  },
  {
    title: 'without a network it goes on trying, and what is sent waits or is called off',
    async run({ join, world }) {
      const alice = await join('alice')
      const lost = until(alice, 'waiting')
      await world.refuse()
      await lost
      const abort = new AbortController()
      const calledOff = alice.send('alice', 'called off', { signal: abort.signal })
      const kept = alice.send('alice', 'kept')
      await until(alice, 'waiting')
      abort.abort()
      await expect(calledOff).rejects.toMatchObject({ name: 'AbortError' })
      const back = until(alice, 'open')
      await world.heal()
      await back
      await kept
      expect(await collect(alice).has(1)).toEqual(['kept'])
    },
  },
  {
    title: 'behind a captive portal it goes on trying, whatever that answers',
    async run({ join, world }) {
      const alice = await join('alice', { connectTimeoutMs: 100 })
      const portals = [
        ['page', 'closed'],
        ['silence', 'timeout'],
        ['page in a message', 'broken'],
      ] as const
      let sent
      for (const [capture, reason] of portals) {
        const cut = until(alice, 'waiting')
        await world.capture(capture)
        sent ??= alice.send('alice', 1)
        await cut
        expect(await until(alice, 'waiting')).toMatchObject({ cause: { reason, final: false } })
      }
      const joining = join('bob')
      await world.heal()
      expect((await joining).state.type).toBe('open')
      expect(await sent).toMatchObject({ recipients: 1 })
    },
  },
  ...(['process', 'process on redis'] as const).map((hub): Case => ({
    title: `sends go on when the hub is killed and comes back (${hub})`,
    hub,
    async run({ join, world }) {
      const alice = await join('alice')
      const bob = await join('bob', { concurrency: 1 })
      const got = collect(bob)
      await alice.send('bob', 'before')
      await got.has(1)
      const lost = [alice, bob].map((client) => until(client, 'waiting'))
      await world.killHub()
      await Promise.all(lost)
      const back = until(bob, 'open')
      // An embedded hub knows bob again only once he is back.
      const sent = alice.send({ name: 'alice' }, 'meanwhile')
      const mine = collect(alice)
      await world.startHub()
      expect(await back).toMatchObject({ resumed: hub === 'process on redis' })
      expect(await sent).toMatchObject({ recipients: 1 })
      expect(await mine.has(1)).toEqual(['meanwhile'])
      expect((await bob.send('bob', 'after')).recipients).toBe(1)
      expect(await got.has(2)).toEqual(['before', 'after'])
    },
  })),
]
