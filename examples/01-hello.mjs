// Two agents on one hub; one sends the other a message.
//
//   node examples/01-hello.mjs
//
// prints
//
//   alice sent "Hello, bob!"
//   bob got "Hello, bob!"
// @ts-check
import { startHub } from 'meshwire'
import { connect } from 'meshwire/client'

const given = process.env.MESHWIRE_URL
const hub = given ? { url: given, async close() {} } : await startHub({ port: 0, logLevel: 'warn' })
const mesh = { url: hub.url, namespace: `hello-${process.pid}` }

const alice = await connect({ ...mesh, name: 'alice', capabilities: ['greeting'] })
const bob = await connect({ ...mesh, name: 'bob', capabilities: ['listening'] })

const received = new Promise((resolve) => bob.onMessage(resolve))

await alice.send({ name: 'bob' }, 'Hello, bob!')
console.log('alice sent "Hello, bob!"')

const message = await received
console.log(`bob got "${message.payload}"`)

// A client keeps its process alive until it is closed.
await alice.close({ unregister: true })
await bob.close({ unregister: true })
await hub.close()
