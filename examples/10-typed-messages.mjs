// Messages whose payloads are typed and checked by schemas, here of zod: what does not fit is refused where it
// is sent, and reaches no handler where it comes from somebody who does not check.
//
//   node examples/10-typed-messages.mjs
//
// prints
//
//   "good morning" is "GOOD MORNING", 2 words
//   asker may not send 5: the payload of "shout" is invalid: text: Invalid input: expected string, received number
//   stranger may, but no handler sees it: dead_lettered, the payload of "shout" is invalid: text: Invalid input: expected string, received number
//   shouter was told of 1 issue
// @ts-check
import assert from 'node:assert/strict'
import { startHub } from 'meshwire'
import { connect, MeshError } from 'meshwire/client'
import { z } from 'zod'

const given = process.env.MESHWIRE_URL
const hub = given ? { url: given, async close() {} } : await startHub({ port: 0, logLevel: 'warn' })
const mesh = { url: hub.url, namespace: `typed-${process.pid}` }
setTimeout(() => process.exit(1), 20_000).unref() // a message that never comes

// What both sides agree on. An editor knows the types below by it.
const schemas = {
  shout: {
    payload: z.object({ text: z.string().trim() }),
    reply: z.object({ text: z.string(), words: z.number() }),
  },
}

const shouter = await connect({ ...mesh, schemas, id: 'shouter', name: 'shouter', capabilities: ['shout'] })
shouter.onMessage('shout', ({ payload: { text } }) => ({
  text: text.toUpperCase(),
  words: text.split(' ').length,
}))

const asker = await connect({ ...mesh, schemas, name: 'asker', capabilities: ['ask'] })
const { payload } = await asker.request('shouter', { text: ' good morning ' }, { type: 'shout' })
console.log(`"good morning" is "${payload.text}", ${payload.words} words`)

// @ts-expect-error the compiler sees it too
const refusal = await asker.request('shouter', { text: 5 }, { type: 'shout' }).catch((error) => error)
assert(refusal instanceof MeshError)
console.log(`asker may not send 5: ${refusal.message}`)
assert.equal(refusal.code, 'bad_frame')

const statuses = shouter.status()
const stranger = await connect({ ...mesh, name: 'stranger', capabilities: ['ask'] })
const sent = await stranger.send('shouter', { text: 5 }, { type: 'shout', receipt: true })
const { status, reason } = await sent.settled
console.log(`stranger may, but no handler sees it: ${status}, ${reason}`)
assert.equal(status, 'dead_lettered')

for await (const event of statuses) {
  if (event.type !== 'invalid_payload') continue
  console.log(`shouter was told of ${event.issues.length} issue`)
  break
}

for (const client of [stranger, asker, shouter]) await client.close({ unregister: true })
await hub.close()
