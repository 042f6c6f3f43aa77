import { test } from 'vitest'
import { clusterStore } from './cluster-store.ts'
import { TIMES } from './hubs.ts'
import { prove, strike } from './prove.ts'
import { sentinelStore } from './sentinel-store.ts'

test('three hubs keep every promise while Sentinels replace a primary that was killed and one that is frozen, and a Sentinel is killed', async () => {
  await using store = await sentinelStore()
  await prove(store, 4, 3, [
    strike(500, 'clients cut'),
    strike(1_500, 'primary killed', 1_000),
    strike(3_000, 'agent restarted'),
    strike(6_000, 'sentinel killed', 1_000),
    strike(7_000, 'hub killed', 1_000),
    strike(9_000, 'primary frozen', 5_000),
    strike(9_500, 'store one stalled', 3_000),
    strike(15_500, 'store cut'),
  ])
}, 180_000)

test('three hubs keep every promise while the nodes of a Cluster are killed and replaced, and a hub is frozen beyond its lease', async () => {
  await using store = await clusterStore()
  await prove(store, 5, 3, [
    strike(500, 'clients half-open', 2_500),
    strike(1_500, 'primary killed', 1_000),
    strike(6_000, 'hub frozen', TIMES.leaseMs + 1_500),
    strike(8_000, 'primary replaced'),
    strike(11_000, 'replica killed', 1_000),
    strike(12_000, 'store half-open', 1_000),
    strike(13_500, 'hub drained'),
  ])
}, 180_000)
