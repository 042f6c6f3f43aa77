// Follows the registry and tells every change of it.
import { join, tell } from './agent.mjs'

const client = await join({ name: 'watcher', capabilities: ['watch'], leaderEligible: false })
const watch = client.watch()
/** @type {Set<string>} */
const disconnected = new Set()

/** @param {import('meshwire/client').WatchEvent} event */
function report(event) {
  switch (event.event) {
    case 'list':
      tell(`watches; registered so far: ${event.agents.map(({ name }) => name).join(', ')}`, { listed: true })
      return
    case 'agent.registered':
      tell(`${event.agent.name} registered, can: ${event.agent.capabilities.join(', ')}`, {
        registered: event.agent.name,
      })
      return
    case 'agent.updated': {
      const { name, connected } = event.agent
      if (connected === !disconnected.has(name)) return
      if (connected) disconnected.delete(name)
      else disconnected.add(name)
      tell(`${name} ${connected ? 'is connected again' : 'lost its connection'}`)
      return
    }
    case 'agent.status_changed':
      tell(`${event.agent.name} is ${event.new} (was ${event.old})`, {
        status: `${event.agent.name} ${event.new}`,
      })
      return
    case 'agent.unregistered':
      tell(`${event.agent.name} unregistered`, { unregistered: event.agent.name })
      return
    case 'leader.changed': {
      const leader = event.agentId === null ? undefined : watch.agents.get(event.agentId)
      tell(leader ? `${leader.name} leads now` : 'nobody leads', { leader: leader?.name, term: event.term })
      return
    }
    default: // heartbeats and dead letters come only when asked for
  }
}

for await (const event of watch) report(event)
