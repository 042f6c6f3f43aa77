import { test } from 'vitest'
import { TIMES } from './hubs.ts'
import { prove, strike } from './prove.ts'
import { embeddedStore, redisStore } from './store.ts'

test('three hubs on Redis keep every promise while a hub is killed, another frozen beyond its lease, and the network fails', async () => {
  await using store = await redisStore()
  await prove(store, 1, 3, [
    strike(500, 'clients half-open', 2_500),
    strike(1_000, 'leader absent', 3 * TIMES.graceMs),
    strike(1_500, 'store cut'),
    strike(2_000, 'hub killed', 1_000),
    strike(4_500, 'agent restarted'),
    strike(5_000, 'store pubsub killed'),
    strike(5_500, 'hub frozen', TIMES.leaseMs + 1_500),
    strike(6_000, 'clients cut'),
    strike(9_500, 'store half-open', 1_000),
  ])
}, 120_000)

test('three hubs on Redis keep every promise while Redis is killed and comes back with what it wrote, stalls, and a hub drains', async () => {
  await using store = await redisStore()
  await prove(store, 2, 3, [
    strike(500, 'agent absent', 1_500),
    strike(1_000, 'store killed', 800),
    strike(3_500, 'store frozen', 1_000),
    strike(5_000, 'hub drained'),
    strike(5_500, 'store pubsub killed'),
    strike(7_000, 'store stalled', TIMES.leaseMs + 500),
    strike(7_500, 'clients stalled', 1_000),
    strike(9_500, 'store killed', 200),
  ])
}, 120_000)

test('one hub with the embedded core keeps every promise while connections fail and it is frozen', async () => {
  await using store = embeddedStore()
  await prove(store, 3, 1, [
    strike(500, 'clients cut'),
    strike(1_000, 'clients half-open', 2_500),
    strike(1_500, 'leader absent', 3 * TIMES.graceMs),
    strike(3_500, 'hub frozen', TIMES.ackTimeoutMs + 500),
    strike(6_000, 'clients stalled', 1_000),
    strike(7_000, 'agent restarted'),
  ])
}, 90_000)
