// An outbox keeps what was sent and not answered over the end of the process: killed in the middle of sending, it sends the rest
// when it is back. Each message is stored once, in order, whatever the hub had taken before.
//
//   node examples/11-outbox.mjs
//
// prints
//
//   the till takes orders for tea, milk and bread, and is killed
//   the till is back, and takes one for jam
//   the warehouse got: tea, milk, bread, jam
//   a second till with this outbox: agent_taken
// @ts-check
import assert from 'node:assert/strict'
import { fork } from 'node:child_process'
import { once } from 'node:events'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { startHub } from 'meshwire'
import { connect } from 'meshwire/client'
import { fileOutbox } from 'meshwire/client/file'

/**
 * The outbox belongs to the id: whoever goes on with it gives the same one.
 * @param {string} url
 * @param {string} namespace
 * @param {string} path
 */
const openTill = (url, namespace, path) =>
  connect({ url, namespace, id: 'till', name: 'till', capabilities: ['sell'], outbox: fileOutbox(path) })

const [url, namespace, path] = process.argv.slice(2)
if (url && namespace && path) {
  const till = await openTill(url, namespace, path)
  // All three are in the file before the first one is on its way. What became of the others nobody will have heard.
  const orders = ['tea', 'milk', 'bread'].map((order) => till.send('warehouse', order))
  await orders[0]
  process.kill(process.pid, 'SIGKILL')
}

const given = process.env.MESHWIRE_URL
const hub = given ? { url: given, async close() {} } : await startHub({ port: 0, logLevel: 'warn' })
const mesh = { url: hub.url, namespace: `outbox-${process.pid}` }
setTimeout(() => process.exit(1), 20_000).unref() // an order that never comes

const warehouse = await connect({ ...mesh, id: 'warehouse', name: 'warehouse', capabilities: ['store'] })
/** @type {string[]} */
const got = []
const complete = new Promise((resolve) => {
  warehouse.onMessage(({ payload }) => {
    got.push(String(payload))
    if (payload === 'jam') resolve(got)
  })
})

const folder = await mkdtemp(join(tmpdir(), 'meshwire-outbox-'))
const file = join(folder, 'till.outbox')
const [, signal] = await once(fork(fileURLToPath(import.meta.url), [mesh.url, mesh.namespace, file]), 'exit')
assert.equal(signal, 'SIGKILL')
console.log('the till takes orders for tea, milk and bread, and is killed')

const till = await openTill(mesh.url, mesh.namespace, file)
await till.send('warehouse', 'jam')
console.log('the till is back, and takes one for jam')
await complete
console.log(`the warehouse got: ${got.join(', ')}`)
assert.deepEqual(got, ['tea', 'milk', 'bread', 'jam'])

// Two clients with one outbox would send everything twice: the file has a lock.
const second = await openTill(mesh.url, mesh.namespace, file).catch(({ code }) => code)
console.log(`a second till with this outbox: ${second}`)
assert.equal(second, 'agent_taken')

await till.close({ unregister: true })
await warehouse.close({ unregister: true })
await hub.close()
await rm(folder, { recursive: true })
