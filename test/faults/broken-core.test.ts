import { expect, test } from 'vitest'
import { startMesh } from '../support/hubs.ts'
import { connect } from '../../client/node.ts'
import { BREAKS, type Break } from './broken-core.ts'
import { runLoad, type RunResult } from './run.ts'

/** A short load on two hubs of this process that share a core in memory. */
async function runOn(wrap: Break | null): Promise<RunResult> {
  const settings = { ratePerSecond: 0, ackTimeoutMs: 1_500, graceMs: 300 }
  await using mesh = await startMesh('memory', 2, settings, wrap)
  const urls = mesh.hubs.map(({ url }) => url)
  const places = { urlsFrom: (index: number) => [urls[index % 2] ?? ''], directUrls: urls }
  const options = {
    seed: 7,
    hubs: 2,
    loadMs: 1_000,
    schedule: null,
    everyMs: 5,
    leastSends: 1_000,
    drainMs: 12_000,
    path: null,
  }
  // It leads until it goes: then there is an election to watch.
  const founder = await connect({ url: urls[0] ?? '', name: 'founder', capabilities: ['founding'] })
  return await runLoad(places, options, () => founder.close({ unregister: true }))
}

test.concurrent('the checker has nothing to say of a core that is not broken', async () => {
  const { violations, history } = await runOn(null)
  expect(violations).toEqual([])
  expect(history.length).toBeGreaterThan(1_000)
}, 60_000)

test.concurrent.each(BREAKS)(
  'of a core that %s the checker tells by "%s", and by nothing else',
  async (_, rule, wrap) => {
    const { violations } = await runOn(wrap)
    expect([...new Set(violations.map((one) => one.rule))]).toEqual([rule])
  },
  60_000,
)
