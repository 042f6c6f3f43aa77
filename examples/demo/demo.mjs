// A hub and four agents, each a process of its own: a planner, two workers, and a watcher that tells what happens in the
// registry. One worker dies by SIGKILL at its work and comes back; what it had not done waited for it.
//
//   npm run demo
//
// With REDIS_URL set the hub keeps its mesh there, under the key prefix `meshwire-demo`. It ends by itself, with exit code 0
// only if all of it has happened.
import { startHub } from 'meshwire'
import { ForkedAgent } from './forked-agent.mjs'
import { Story } from './story.mjs'

const TIMEOUT_MS = 30_000

const story = new Story(TIMEOUT_MS)
const redis = process.env.REDIS_URL ? { redisUrl: process.env.REDIS_URL, keyPrefix: 'meshwire-demo' } : {}
const hub = await startHub({ port: 0, logLevel: 'error', graceMs: 1000, ...redis }).catch((error) =>
  story.fail(`the hub did not start (${error.message})`),
)
const namespace = `demo-${process.pid}-${Date.now().toString(36)}`
/**
 * @param {string} name
 * @param {string} file
 * @param {Record<string, string>} [env]
 */
const start = (name, file, env = {}) =>
  new ForkedAgent(story, name, file, { DEMO_URL: hub.url, DEMO_NAMESPACE: namespace, ...env })

story.print('hub', `listens on ${hub.url} (${hub.core === 'redis' ? 'core: Redis' : 'embedded core'})`)

story.chapter('Four agents come, each over a socket of its own')
const watcher = start('watcher', 'watcher.mjs')
await story.until('the watcher sees itself', { from: 'watcher', listed: true })
let ada = start('ada', 'worker.mjs', { DEMO_STUCK: 'yes' })
await story.until('ada registers', { from: 'watcher', registered: 'ada' })
const before = await story.until('ada leads', { from: 'watcher', leader: 'ada' })
const ben = start('ben', 'worker.mjs')
await story.until('ben registers', { from: 'watcher', registered: 'ben' })
const planner = start('planner', 'planner.mjs')
await story.until('the planner registers', { from: 'watcher', registered: 'planner' })
await story.until('the planner knows the leader', { from: 'planner', sawLeader: 'ada' })
await story.until('ada is ready', { from: 'ada', ready: 'ada' })
await story.until('ben is ready', { from: 'ben', ready: 'ben' })

story.chapter('The planner finds workers by what they can do, and asks them')
planner.order('ask')
await story.until('the planner finds two workers', { from: 'planner', found: 2 })
await story.until('ada answers', { from: 'planner', answered: 'ada', answer: '7 x 11 x 13' })
await story.until('ben answers', { from: 'planner', answered: 'ben', answer: '19 x 53' })

story.chapter('ada gets a task and is killed while she works on it')
planner.order(['ada', 8051])
await story.until('the task is stored', { from: 'planner', delegated: 8051, recipients: 1 })
await story.until('ada works on it', { from: 'ada', worksOn: 8051, attempt: 1 })
await ada.kill()
await story.until('ada is offline', { from: 'watcher', status: 'ada offline' })
const after = await story.until('ben leads', { from: 'watcher', leader: 'ben' })
if (Number(after.term) <= Number(before.term)) story.fail('the term of the new leader is not greater')

story.chapter('The planner gives her two more: they wait in her inbox')
for (const number of [2431, 9991]) {
  planner.order(['ada', number])
  await story.until(`task ${number} is stored`, { from: 'planner', delegated: number, recipients: 1 })
}

story.chapter('ada comes back, and all three reach her')
ada = start('ada', 'worker.mjs')
await story.until('ada is online again', { from: 'watcher', status: 'ada online' })
await story.until('8051 comes again', { from: 'ada', worksOn: 8051, attempt: 2 })
await story.until('8051 is done', { from: 'planner', result: 8051, factors: '83 x 97' })
await story.until('2431 has waited', { from: 'ada', worksOn: 2431, attempt: 1 })
await story.until('2431 is done', { from: 'planner', result: 2431, factors: '11 x 13 x 17' })
await story.until('9991 has waited', { from: 'ada', worksOn: 9991, attempt: 1 })
await story.until('9991 is done', { from: 'planner', result: 9991, factors: '97 x 103' })

story.chapter('All leave')
await planner.leave()
await story.until('the planner is gone', { from: 'watcher', unregistered: 'planner' })
await ada.leave()
await story.until('ada is gone', { from: 'watcher', unregistered: 'ada' })
await ben.leave()
await story.until('ben is gone', { from: 'watcher', unregistered: 'ben' })
await watcher.leave()
await hub.close()
story.end()
