// Finds workers by what they can do, asks them, and gives them tasks that may wait.
import { join, tell } from './agent.mjs'

const client = await join({ name: 'planner', capabilities: ['planning'], leaderEligible: false })

client.onMessage('task_result', ({ from, payload }) => {
  const { number, factors } = /** @type {{ number: number, factors: string }} */ (payload)
  tell(`got from ${from}: ${number} = ${factors}`, { result: number, factors })
})

/** Asks every worker that it can find. */
async function ask() {
  const { agents } = await client.discover({ capabilities: { all: ['factoring'] } })
  tell(`finds for "factoring": ${agents.map(({ name }) => name).join(', ')}`, { found: agents.length })
  const answers = agents.map(async ({ id, name }, index) => {
    const number = 1001 + index * 6
    tell(`asks ${name}: what are the prime factors of ${number}?`)
    const { payload } = await client.request(id, number)
    tell(`${name} answers: ${number} = ${String(payload)}`, { answered: name, answer: payload })
  })
  await Promise.all(answers)
}

/**
 * @param {string} worker
 * @param {number} number
 */
async function delegate(worker, number) {
  const { recipients } = await client.send(worker, number, { type: 'task_delegation' })
  tell(`gives ${worker} the task ${number}: stored`, { delegated: number, recipients })
}

process.on('message', (order) => {
  if (order === 'ask') void ask()
  else if (Array.isArray(order)) void delegate(order[0], order[1])
})

const { agentId } = await client.leader()
tell(`is ready; the leader is ${agentId ?? 'nobody'}`, { ready: 'planner', sawLeader: agentId })
