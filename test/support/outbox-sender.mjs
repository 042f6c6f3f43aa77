import { setTimeout as delay } from 'node:timers/promises'
import { connect } from 'meshwire/client'
import { fileOutbox } from 'meshwire/client/file'

// Sends `[life, 0]`, `[life, 1]`, … as fast as it may until it is killed, among queries that nobody keeps, and tells each answer.
const [url = '', path = '', life = ''] = process.argv.slice(2)
const client = await connect({
  url,
  id: 'alice',
  name: 'alice',
  capabilities: ['test'],
  outbox: fileOutbox(path),
})
process.send?.(-1)
for (let number = 0; ;) {
  let last = Promise.resolve()
  for (let n = 0; n < 50; n++) {
    const own = number++
    last = client.send('bob', [Number(life), own]).then(() => process.send?.(own))
    if (n % 10 === 0) client.request('bob', 'any news?').catch(() => undefined)
  }
  if (number % 500 === 0) await last
  else await delay(1)
}
