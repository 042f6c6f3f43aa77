// What becomes of a message: the sender learns it by a receipt, and what could not be done is kept as a dead letter, to be looked
// at, tried once more, or deleted.
//
//   node examples/09-receipts-and-dead-letters.mjs
//
// prints
//
//   "paint the fence": acked by bob
//   "paint the cat": dead_lettered by bob, because "she is asleep"
//   "paint the moon": expired, nobody had it
//   dead letter: "paint the cat", she is asleep
//   dead letter: "paint the moon", expired
//   tried once more: 1, and bob painted the cat
//   deleted: 1, now there are 0
// @ts-check
import assert from 'node:assert/strict'
import { startHub } from 'meshwire'
import { connect, Nack } from 'meshwire/client'

const given = process.env.MESHWIRE_URL
const hub = given ? { url: given, async close() {} } : await startHub({ port: 0, logLevel: 'warn' })
const mesh = { url: hub.url, namespace: `receipts-${process.pid}` }
setTimeout(() => process.exit(1), 20_000).unref() // a receipt that never comes

const alice = await connect({ ...mesh, name: 'alice', capabilities: ['ask'] })
const bob = await connect({ ...mesh, id: 'bob', name: 'bob', capabilities: ['paint'] })

let asleep = true
const painted = new Promise((resolve) => {
  bob.onMessage(({ payload }) => {
    if (payload !== 'paint the cat') return
    // Not later, to another agent or to this one: never. Without `requeue: false` it would come again.
    if (asleep) throw new Nack('she is asleep', { requeue: false })
    resolve('bob painted the cat')
  })
})

// `send` resolves when the mesh has stored the message; `settled` when it knows what became of it.
const fence = await alice.send('bob', 'paint the fence', { receipt: true })
const { status, agentId } = await fence.settled
console.log(`"paint the fence": ${status} by ${agentId}`)
assert.equal(status, 'acked')

const cat = await alice.send({ capability: 'paint' }, 'paint the cat', { receipt: true })
const refusal = await cat.settled
console.log(`"paint the cat": ${refusal.status} by ${refusal.agentId}, because "${refusal.reason}"`)
assert.equal(refusal.status, 'dead_lettered')

// Nobody can fly: the task waits for somebody who can, but not for ever.
const moon = await alice.send({ capability: 'fly' }, 'paint the moon', { receipt: true, ttlMs: 200 })
const expiry = await moon.settled
console.log(`"paint the moon": ${expiry.status}, ${expiry.agentId ?? 'nobody'} had it`)
assert.equal(expiry.status, 'expired')

for await (const { payload, reason } of alice.deadLetters.listAll({}, { payload: true })) {
  console.log(`dead letter: ${JSON.stringify(payload)}, ${reason}`)
}

asleep = false
const { redriven } = await alice.deadLetters.redrive({ where: { messageId: cat.id } })
console.log(`tried once more: ${redriven}, and ${await painted}`)
assert.equal(redriven, 1)

const { purged } = await alice.deadLetters.purge({ where: { reason: 'expired' } })
const { kept } = await alice.deadLetters.list()
console.log(`deleted: ${purged}, now there are ${kept}`)
assert.deepEqual([purged, kept], [1, 0])

await alice.close({ unregister: true })
await bob.close({ unregister: true })
await hub.close()
