// Work for whoever has room: a task waits in the queue of a capability, exactly one worker takes it, and a worker that is
// killed in the middle of one loses it to another.
//
//   node examples/07-task-queue.mjs
//
// prints
//
//   ann, ben and cid can translate, each in a process of its own
//   7 tasks are in the queue of "translate", a long one first
//   the worker that has the long one is killed by SIGKILL
//   the 6 short ones are done, by the other two
//   the long one is done, by one of the other two, at attempt 2
// @ts-check
import assert from 'node:assert/strict'
import { fork } from 'node:child_process'
import { once } from 'node:events'
import { setTimeout as delay } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { startHub } from 'meshwire'
import { connect } from 'meshwire/client'

const file = fileURLToPath(import.meta.url)

/** What a worker does, until the process that started it lets it go. */
async function work(name = '', url = '', namespace = '') {
  const worker = await connect({
    url,
    namespace,
    id: name,
    name,
    capabilities: ['translate'],
    ephemeral: true,
  })
  // When the handler has returned, the task is done and gone from the queue. That it is still at work is told by itself.
  worker.onWork('translate', async ({ payload, attempt }) => {
    if (payload === 'long') process.send?.({ name, attempt })
    await delay(payload === 'long' ? 1500 : 20)
  })
  process.send?.('ready')
  await once(process, 'disconnect')
  await worker.close()
}

async function giveWork() {
  const given = process.env.MESHWIRE_URL
  // A worker that has been gone for longer than the grace period loses its task.
  const hub = given
    ? { url: given, async close() {} }
    : await startHub({ port: 0, logLevel: 'warn', graceMs: 300 })
  const namespace = `tasks-${process.pid}`
  const boss = await connect({ url: hub.url, namespace, name: 'boss', capabilities: ['give'] })
  setTimeout(() => process.exit(1), 25_000).unref() // a task that is never done

  const names = ['ann', 'ben', 'cid']
  const workers = new Map(names.map((name) => [name, fork(file, ['worker', name, hub.url, namespace])]))
  await Promise.all([...workers.values()].map((worker) => once(worker, 'message')))
  console.log('ann, ben and cid can translate, each in a process of its own')

  // Who begins the long one, each time.
  const begun = [...workers.values()].map((worker) => once(worker, 'message'))
  const give = (/** @type {string} */ task) => boss.send({ capability: 'translate' }, task, { receipt: true })
  const long = await give('long')
  const short = await Promise.all(['one', 'two', 'three', 'four', 'five', 'six'].map(give))
  console.log(`${1 + short.length} tasks are in the queue of "translate", a long one first`)

  const [first] = await Promise.race(begun)
  const killed = workers.get(first.name)
  killed?.kill('SIGKILL')
  console.log('the worker that has the long one is killed by SIGKILL')
  const others = names.filter((name) => name !== first.name)
  const second = Promise.race(others.map((name) => begun[names.indexOf(name)]))

  for (const { settled } of short) {
    const { status, agentId } = await settled
    assert.equal(status, 'acked')
    assert(others.includes(String(agentId)))
  }
  console.log(`the ${short.length} short ones are done, by the other two`)

  const { status, agentId } = await long.settled
  assert.equal(status, 'acked')
  assert(others.includes(String(agentId)))
  const [{ attempt }] = /** @type {any} */ (await second)
  console.log(`the long one is done, by one of the other two, at attempt ${attempt}`)
  assert.equal(attempt, 2)

  for (const name of others) {
    const worker = workers.get(name)
    worker?.disconnect()
    if (worker) await once(worker, 'exit')
  }
  await boss.close({ unregister: true })
  await hub.close()
}

const [role, ...rest] = process.argv.slice(2)
await (role === 'worker' ? work(...rest) : giveWork())
