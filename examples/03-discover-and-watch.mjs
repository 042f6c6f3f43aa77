// Finding agents by what they can do, and following every change of who is there.
//
//   node examples/03-discover-and-watch.mjs
//
// prints
//
//   [watch] at first: nobody
//   [watch] agent.registered berlin
//   [watch] agent.registered london
//   [discover] translators in the EU: berlin
//   [watch] agent.status_changed berlin: online -> degraded, GPU lost
//   [discover] translators online: london
//   [watch] agent.unregistered london
//   [watch] the map now has: berlin
// @ts-check
import assert from 'node:assert/strict'
import { startHub } from 'meshwire'
import { connect } from 'meshwire/client'

const given = process.env.MESHWIRE_URL
const hub = given ? { url: given, async close() {} } : await startHub({ port: 0, logLevel: 'warn' })
const mesh = { url: hub.url, namespace: `discover-${process.pid}` }
setTimeout(() => process.exit(1), 20_000).unref() // an event that never comes

// An observer looks, and is no agent itself.
const viewer = await connect({ ...mesh, observer: true })
const translators = { capabilities: { all: ['translate'] } }
const watch = viewer.watch(translators, {
  events: ['agent.registered', 'agent.status_changed', 'agent.unregistered'],
})

/** Prints the next event of the watch. */
async function show() {
  const { value: event } = await watch.next()
  assert(event)
  if (event.event === 'list') {
    console.log(`[watch] at first: ${event.agents.map(({ name }) => name).join(', ') || 'nobody'}`)
  } else if (event.event === 'agent.status_changed') {
    const { name, statusReason } = event.agent
    console.log(`[watch] ${event.event} ${name}: ${event.old} -> ${event.new}, ${statusReason}`)
  } else if ('agent' in event) {
    console.log(`[watch] ${event.event} ${event.agent.name}`)
  }
}

/** Prints the names of the agents that match now; only those online, unless `where` says otherwise. */
async function find(what, where) {
  const { agents } = await viewer.discover({ ...translators, ...where })
  console.log(`[discover] ${what}: ${agents.map(({ name }) => name).join(', ')}`)
  return agents
}

await show()
const capabilities = ['translate']
const berlin = await connect({ ...mesh, name: 'berlin', capabilities, metadata: { region: 'eu' } })
await show()
const london = await connect({ ...mesh, name: 'london', capabilities, metadata: { region: 'uk' } })
await show()
assert.equal((await find('translators in the EU', { metadata: { region: 'eu' } })).length, 1)

await berlin.update({ status: 'degraded', statusReason: 'GPU lost' })
await show()
assert.equal((await find('translators online', {})).length, 1)

await london.close({ unregister: true })
await show()
console.log(`[watch] the map now has: ${[...watch.agents.values()].map(({ name }) => name).join(', ')}`)
assert.equal(watch.agents.size, 1)

await berlin.close({ unregister: true })
await viewer.close()
await hub.close()
