import { describe, expect, test } from 'vitest'
import type { Signal } from '../../src/core/bus.ts'
import { join, listen, NS, type CoreFactory } from '../support/core.ts'

const probed = (probe: string): Signal => ({ kind: 'probed', probe })

/** The probes heard. */
const probes = (signals: readonly Signal[]): string[] =>
  signals.flatMap((signal) => (signal.kind === 'probed' ? [signal.probe] : []))

/** What the port `Bus` says. */
export function busSuite({ openCore, openPair }: CoreFactory): void {
  describe('bus', () => {
    test('a signal to one hub reaches that one alone', async () => {
      const [one, two] = await openPair()
      const [here, there] = [await listen(one, 'hub-1'), await listen(two, 'hub-2')]
      one.bus.publish(NS, 'hub-2', probed('a'))
      two.bus.publish(NS, 'hub-2', probed('b'))
      await there.hear((signal) => signal.kind === 'probed' && signal.probe === 'a')
      await there.hear((signal) => signal.kind === 'probed' && signal.probe === 'b')
      await here.settled(one)
      await here.settled(two)
      expect(probes(here.signals).filter((probe) => !probe.startsWith('mark'))).toEqual([])
    })

    test('a signal to all reaches every hub of the namespace, the own one included', async () => {
      const [one, two] = await openPair()
      const all = [await listen(one, 'hub-1'), await listen(two, 'hub-2')]
      one.bus.publish(NS, null, { kind: 'heartbeats_wanted' })
      for (const ears of all) {
        expect(await ears.hear(({ kind }) => kind === 'heartbeats_wanted')).toEqual({
          kind: 'heartbeats_wanted',
        })
      }
    })

    test('other namespaces hear nothing', async () => {
      const core = await openCore()
      const ears = await listen(core, 'hub-1', 'other')
      core.bus.publish(NS, 'hub-1', probed('a'))
      core.bus.publish(NS, null, probed('b'))
      await join(core, 'alice')
      core.bus.publish('other', 'hub-1', probed('c'))
      await ears.hear(({ kind }) => kind === 'probed')
      expect(ears.signals).toEqual([probed('c')])
    })

    test("signals arrive in the sender's order, to one and to all", async () => {
      const [one, two] = await openPair()
      const ears = await listen(two, 'hub-2')
      const sent = Array.from({ length: 100 }, (_, index) => `s${index}`)
      for (const [index, probe] of sent.entries())
        one.bus.publish(NS, index % 3 === 0 ? null : 'hub-2', probed(probe))
      await ears.hear((signal) => signal.kind === 'probed' && signal.probe === 's99')
      expect(probes(ears.signals)).toEqual(sent)
    })

    test('every kind of signal arrives as it was sent', async () => {
      const [one, two] = await openPair()
      const ears = await listen(two, 'hub-2')
      const signals: Signal[] = [
        {
          kind: 'probe',
          agentId: 'a "quoted" id\n',
          fence: 1_795_294_445_345_001,
          probe: 'x',
          replyTo: 'hub-1',
        },
        { kind: 'transient', agentIds: ['alice', 'bob'], text: '{"payload":"line\\nline ü"}' },
        { kind: 'heartbeat', agentId: 'alice', metrics: { load: 0.5 }, at: 1_795_294_445_345, from: 'hub-1' },
        { kind: 'heartbeats_wanted' },
        probed('end'),
      ]
      for (const signal of signals) one.bus.publish(NS, 'hub-2', signal)
      await ears.hear(({ kind }) => kind === 'probed')
      expect(ears.signals).toEqual(signals)
    })

    test('no signal arrives within the operation that sends it', async () => {
      const core = await openCore()
      const ears = await listen(core, 'hub-1')
      core.bus.publish(NS, 'hub-1', probed('a'))
      expect(ears.signals).toEqual([])
      await ears.hear(({ kind }) => kind === 'probed')
    })

    test('a subscription that ended hears nothing, others go on', async () => {
      const core = await openCore()
      const heard: Signal[] = []
      const subscription = await core.bus.subscribe(
        NS,
        'hub-1',
        (signal) => void heard.push(signal),
        () => undefined,
      )
      core.bus.publish(NS, 'hub-1', probed('last'))
      await subscription.close()
      const before = heard.length
      core.bus.publish(NS, 'hub-1', probed('late'))
      const ears = await listen(core, 'hub-1')
      core.bus.publish(NS, 'hub-1', probed('new'))
      await ears.hear(({ kind }) => kind === 'probed')
      expect(heard).toHaveLength(before)
      expect(ears.signals).toContainEqual(probed('new'))
    })

    test('one core serves several hubs and several namespaces', async () => {
      const core = await openCore()
      const [first, second] = [await listen(core, 'hub-1'), await listen(core, 'hub-2')]
      const elsewhere = await listen(core, 'hub-1', 'other')
      core.bus.publish(NS, null, probed('all'))
      core.bus.publish('other', null, probed('elsewhere'))
      for (const ears of [first, second]) {
        expect(await ears.hear(({ kind }) => kind === 'probed')).toEqual(probed('all'))
      }
      expect(await elsewhere.hear(({ kind }) => kind === 'probed')).toEqual(probed('elsewhere'))
    })
  })
}
