// One message to many: to all, to a group, to everybody who has a capability.
//
//   node examples/05-groups-and-broadcast.mjs
//
// prints
//
//   to all: 3 recipients
//   to the group "kitchen": 2 recipients
//   to whoever can cook: 1 recipient
//   anna got: good morning | dinner at eight | the oven is hot
//   ben got: good morning | dinner at eight
//   carl got: good morning
// @ts-check
import assert from 'node:assert/strict'
import { startHub } from 'meshwire'
import { connect } from 'meshwire/client'

const given = process.env.MESHWIRE_URL
const hub = given ? { url: given, async close() {} } : await startHub({ port: 0, logLevel: 'warn' })
const mesh = { url: hub.url, namespace: `groups-${process.pid}` }
setTimeout(() => process.exit(1), 20_000).unref() // a message that never comes

/** Connects an agent that collects what it gets. */
async function join(name, capabilities, groups, expected) {
  const client = await connect({ ...mesh, name, capabilities, groups })
  const got = []
  const complete = new Promise((resolve) => {
    client.onMessage(({ payload }) => {
      got.push(payload)
      if (got.length === expected) resolve(got)
    })
  })
  return { client, name, complete }
}

const staff = [
  await join('anna', ['cook', 'taste'], ['kitchen'], 3),
  await join('ben', ['wash'], ['kitchen'], 2),
  await join('carl', ['serve'], ['hall'], 1),
]
const boss = await connect({ ...mesh, name: 'boss', capabilities: ['order'] })

/** Prints to how many agents a broadcast is owed; the sender is not among them. */
function tell(whom, { recipients }, expected) {
  console.log(`to ${whom}: ${recipients} ${recipients === 1 ? 'recipient' : 'recipients'}`)
  assert.equal(recipients, expected)
}

tell('all', await boss.broadcast('good morning'), 3)
tell('the group "kitchen"', await boss.broadcast('dinner at eight', { to: { group: 'kitchen' } }), 2)
tell('whoever can cook', await boss.broadcast('the oven is hot', { to: { capability: 'cook' } }), 1)

for (const { name, complete } of staff) console.log(`${name} got: ${(await complete).join(' | ')}`)

for (const { client } of staff) await client.close({ unregister: true })
await boss.close({ unregister: true })
await hub.close()
