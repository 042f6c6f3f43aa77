import { connect } from '../../client/node.ts'
import type { Client } from '../../client/client.ts'
import type { Watch } from '../../client/watch.ts'
import type { AgentInfo } from '../../protocol/agent.ts'
import type { Event } from '../../protocol/pushes.ts'
import type { LeaderInfo } from '../../protocol/replies.ts'
import type { Recorder } from './recorder.ts'
import { lasting } from '../support/mirror.ts'

const textOf = (agent: AgentInfo): string => JSON.stringify(lasting(agent))

const textsOf = (agents: readonly AgentInfo[]): Record<string, string> =>
  Object.fromEntries(agents.map((agent) => [agent.id, textOf(agent)]))

/** Follows the registry with the bundled client, over whatever happens to its connection. */
export class Watcher {
  readonly name: string
  readonly #client: Client
  readonly #watch: Watch
  readonly #recorder: Recorder

  private constructor(name: string, client: Client, recorder: Recorder) {
    this.name = name
    this.#client = client
    this.#recorder = recorder
    this.#watch = client.watch()
    void this.#follow()
  }

  static async start(name: string, urls: readonly string[], recorder: Recorder): Promise<Watcher> {
    const client = await connect({ url: urls, observer: true, connectTimeoutMs: 3_000 })
    const watcher = new Watcher(name, client, recorder)
    await watcher.#watch.ready
    return watcher
  }

  get revision(): number {
    return this.#watch.revision ?? 0
  }

  get leader(): LeaderInfo {
    return this.#watch.leader
  }

  async #follow(): Promise<void> {
    const client = this.name
    for await (const event of this.#watch) {
      if (event.event === 'list') {
        const { revision, agents, leader } = event
        const { agentId, term } = leader
        this.#recorder.write({
          kind: 'list',
          client,
          revision,
          agents: textsOf(agents),
          leader: agentId,
          term,
        })
      } else this.#onEvent(event)
    }
  }

  #onEvent(event: Event): void {
    if (event.event === 'message.dead_lettered' || event.event === 'agent.heartbeat') return
    const { revision, agentId: agent } = event
    const text = 'agent' in event && event.event !== 'agent.unregistered' ? textOf(event.agent) : null
    const term = event.event === 'leader.changed' ? event.term : null
    this.#recorder.write({
      kind: 'event',
      client: this.name,
      revision,
      event: event.event,
      agent,
      text,
      term,
    })
  }

  async close(): Promise<void> {
    this.#watch.close()
    await this.#client.close()
  }
}

/** Takes the list as a hub shows it to somebody who comes now; answers its revision. */
export async function lookAt(
  name: string,
  url: string,
  recorder: Recorder,
  signal: AbortSignal,
): Promise<number> {
  const client = await connect({ url, observer: true, signal, connectTimeoutMs: 3_000 })
  try {
    const watch = client.watch()
    await watch.ready
    const { agentId, term } = watch.leader
    const agents = textsOf([...watch.agents.values()])
    const revision = watch.revision ?? 0
    recorder.write({ kind: 'list', client: name, revision, agents, leader: agentId, term })
    return revision
  } finally {
    await client.close()
  }
}
