// One agent asks, another one answers: what a handler of queries returns is the reply.
//
//   node examples/02-request-and-reply.mjs
//
// prints
//
//   2 + 3 = 5
//   three questions at once: 11, 22, 33
//   nobody answers "what is love?": TimeoutError
// @ts-check
import assert from 'node:assert/strict'
import { startHub } from 'meshwire'
import { connect } from 'meshwire/client'

const given = process.env.MESHWIRE_URL
const hub = given ? { url: given, async close() {} } : await startHub({ port: 0, logLevel: 'warn' })
const mesh = { url: hub.url, namespace: `request-${process.pid}` }

// concurrency: how many handlers may run at once.
const adder = await connect({ ...mesh, name: 'adder', capabilities: ['add'], concurrency: 4 })
adder.onMessage('query', ({ payload }) => {
  // A query whose handler returns nothing is processed, but not answered.
  return Array.isArray(payload) ? payload.reduce((sum, number) => sum + number, 0) : undefined
})

const asker = await connect({ ...mesh, name: 'asker', capabilities: ['ask'] })

const answer = await asker.request({ name: 'adder' }, [2, 3])
console.log('2 + 3 =', answer.payload)
assert.equal(answer.payload, 5)

// Each answer finds its question, whatever the order they come in.
const questions = [1, 2, 3].map((number) => asker.request({ name: 'adder' }, [number, number * 10]))
const answers = await Promise.all(questions)
console.log(`three questions at once: ${answers.map(({ payload }) => payload).join(', ')}`)

const failure = await asker
  .request({ name: 'adder' }, 'what is love?', { timeoutMs: 300 })
  .catch((error) => error)
console.log(`nobody answers "what is love?": ${failure.name}`)
assert.equal(failure.name, 'TimeoutError')

await asker.close({ unregister: true })
await adder.close({ unregister: true })
await hub.close()
