// An answer read token by token while it is made; the reader has enough, and the one who makes it stops.
//
//   node examples/08-streaming-tokens.mjs
//
// prints
//
//   [asker] Once upon a time a mesh was made of many small hubs
//   [asker] has all 12 tokens
//   [asker] Once upon a time
//   [asker] has enough
//   [model] stops after 4 tokens: enough
//   [asker] Once upon
//   [asker] the answer broke off: out_of_memory, no room for token 3
// @ts-check
import assert from 'node:assert/strict'
import { once } from 'node:events'
import { setTimeout as sleep } from 'node:timers/promises'
import { startHub } from 'meshwire'
import { connect } from 'meshwire/client'

const given = process.env.MESHWIRE_URL
const hub = given ? { url: given, async close() {} } : await startHub({ port: 0, logLevel: 'warn' })
const mesh = { url: hub.url, namespace: `tokens-${process.pid}` }
const story = 'Once upon a time a mesh was made of many small hubs'.split(' ')

const model = await connect({ ...mesh, name: 'model', capabilities: ['generate'] })

// An async generator: what it yields is sent at once, and it is asked for more only as fast as the asker reads.
model.onMessage('query', async function* ({ payload }, { signal }) {
  let made = 0
  signal.addEventListener('abort', () => {
    console.log(`[model] stops after ${made} tokens: ${signal.reason.message}`)
  })
  for (const token of story) {
    if (payload === 'too much' && made === 2) {
      throw Object.assign(new Error('no room for token 3'), { code: 'out_of_memory' })
    }
    made++
    yield token
    // Thinks about the next one; whoever waits in here should end when nobody wants it any more.
    if (payload === 'only the beginning' && made === 4) await once(signal, 'abort')
    else await sleep(5)
  }
})

const asker = await connect({ ...mesh, name: 'asker', capabilities: ['ask'] })

const all = []
for await (const token of asker.requestStream({ name: 'model' }, 'a story')) all.push(token)
console.log(`[asker] ${all.join(' ')}`)
// The loop ended without an error: the answer is complete.
console.log(`[asker] has all ${all.length} tokens`)
assert.deepEqual(all, story)

const some = []
const beginning = asker.requestStream({ name: 'model' }, 'only the beginning')
for await (const token of beginning) {
  some.push(token)
  if (some.length < 4) continue
  console.log(`[asker] ${some.join(' ')}`)
  console.log('[asker] has enough')
  // `break` would do as well.
  beginning.cancel('enough')
}

const few = []
try {
  for await (const token of asker.requestStream({ name: 'model' }, 'too much')) few.push(token)
} catch (error) {
  console.log(`[asker] ${few.join(' ')}`)
  console.log(`[asker] the answer broke off: ${error.code}, ${error.message}`)
  assert.equal(error.code, 'out_of_memory')
}

await asker.close({ unregister: true })
await model.close({ unregister: true })
await hub.close()
