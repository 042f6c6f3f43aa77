// What is sent to an agent that is away waits in its inbox, in order, and each message stays there until
// a handler has dealt with it.
//
//   node examples/06-offline-inbox.mjs
//
// prints
//
//   bob is offline
//   alice sent "one", stored for 1 recipient
//   alice sent "two", stored for 1 recipient
//   alice sent "three", stored for 1 recipient
//   bob is back
//   bob got "one"
//   bob fails at "two"
//   bob got "three"
//   bob got "two", attempt 2
// @ts-check
import assert from 'node:assert/strict'
import { startHub } from 'meshwire'
import { connect, Nack } from 'meshwire/client'

const given = process.env.MESHWIRE_URL
const hub = given ? { url: given, async close() {} } : await startHub({ port: 0, logLevel: 'warn' })
const mesh = { url: hub.url, namespace: `inbox-${process.pid}` }
setTimeout(() => process.exit(1), 20_000).unref() // a message that never comes

// The inbox belongs to the id: whoever wants it back after a restart gives the same one.
const identity = { ...mesh, id: 'bob', name: 'bob', capabilities: ['listen'] }
const before = await connect(identity)
await before.close()

const alice = await connect({ ...mesh, name: 'alice', capabilities: ['talk'] })
const { agents } = await alice.discover({ name: 'bob', status: ['offline'] })
console.log(`bob is ${agents[0]?.status}`)

for (const word of ['one', 'two', 'three']) {
  const { recipients } = await alice.send('bob', word)
  console.log(`alice sent "${word}", stored for ${recipients} recipient`)
}

const bob = await connect(identity)
console.log('bob is back')

const got = []
await new Promise((resolve) => {
  bob.onMessage(({ payload, attempt }) => {
    const word = String(payload)
    if (word === 'two' && attempt === 1) {
      console.log('bob fails at "two"')
      // Given back: it comes again after the delay, and the others do not wait for it.
      throw new Nack('not now', { delayMs: 100 })
    }
    console.log(`bob got "${word}"${attempt > 1 ? `, attempt ${attempt}` : ''}`)
    got.push(word)
    if (got.length === 3) resolve(got)
  })
})
assert.deepEqual(got, ['one', 'three', 'two'])

await alice.close({ unregister: true })
await bob.close({ unregister: true })
await hub.close()
