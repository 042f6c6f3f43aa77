// Every namespace has one leader. When it goes, the next one leads, in a greater term; what the old one still sends as
// the leader is refused.
//
//   node examples/04-leader.mjs
//
// prints
//
//   the eldest leads: anna
//   anna sends an order as the leader: stored for 1
//   anna goes offline, so ben leads, in a greater term
//   anna is back: ben still leads
//   anna sends an order in her old term: stale_term
// @ts-check
import assert from 'node:assert/strict'
import { startHub } from 'meshwire'
import { connect } from 'meshwire/client'

const given = process.env.MESHWIRE_URL
const hub = given ? { url: given, async close() {} } : await startHub({ port: 0, logLevel: 'warn' })
const mesh = { url: hub.url, namespace: `leader-${process.pid}` }
setTimeout(() => process.exit(1), 20_000).unref() // an election that never comes

const first = { ...mesh, id: 'anna', name: 'anna', capabilities: ['plan'] }
const anna = await connect(first)
const ben = await connect({ ...mesh, id: 'ben', name: 'ben', capabilities: ['plan'] })
ben.onMessage(() => undefined)

const watch = ben.watch(null, { events: ['leader.changed'] })
await watch.ready
console.log(`the eldest leads: ${watch.leader.agentId}`)
assert.equal(watch.leader.agentId, 'anna')

// The term is the fence: it goes with each order that only the leader may give.
const { term } = await anna.leader()
const sent = await anna.send('ben', 'sweep the floor', { asLeader: term })
console.log(`anna sends an order as the leader: stored for ${sent.recipients}`)

// Offline, and registered still. After a crash the grace period passes first.
await anna.close()
for await (const { event } of watch) if (event === 'leader.changed') break
assert(watch.leader.term > term)
console.log(`anna goes offline, so ${watch.leader.agentId} leads, in a greater term`)
assert.equal(watch.leader.agentId, 'ben')

const annaAgain = await connect(first)
console.log(`anna is back: ${(await annaAgain.leader()).agentId} still leads`)

const refusal = await annaAgain.send('ben', 'and the stairs', { asLeader: term }).catch((error) => error)
console.log(`anna sends an order in her old term: ${refusal.code}`)
assert.equal(refusal.code, 'stale_term')

await annaAgain.close({ unregister: true })
await ben.close({ unregister: true })
await hub.close()
