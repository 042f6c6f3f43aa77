// Takes numbers apart into their prime factors: answers questions, and works on tasks that it hands in when they are done.
import { join, tell } from './agent.mjs'

const name = process.argv[2] ?? 'worker'
// With an id of its own it gets its inbox back when it is started again.
const client = await join({ id: name, name, capabilities: ['factoring'] })

/** @param {number} number */
function factors(number) {
  const found = []
  let rest = number
  for (let prime = 2; prime * prime <= rest; prime++) {
    for (; rest % prime === 0; rest /= prime) found.push(prime)
  }
  return [...found, rest].join(' x ')
}

tell('is ready', { ready: name })

client.onMessage('query', ({ payload }) => factors(Number(payload)))

client.onMessage('task_delegation', async ({ from, payload, attempt, createdAt }) => {
  const number = Number(payload)
  const age = ((Date.now() - Date.parse(createdAt)) / 1000).toFixed(2)
  tell(`works on ${number}: attempt ${attempt}, ${age} s after it was given`, { worksOn: number, attempt })
  // The demo ends this process at its first task, before it is done with it.
  if (process.env.DEMO_STUCK) await new Promise(() => undefined)
  await client.send(from, { number, factors: factors(number) }, { type: 'task_result' })
})
