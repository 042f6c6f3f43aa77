import type { HubServer } from '../../src/server.ts'

/** What a spec-ai hub answers; every field that its clients need. */
export interface MeshInstance {
  readonly instance_id: string
  readonly hostname: string
  readonly port: number
  readonly capabilities: readonly string[]
  readonly is_leader: boolean
  readonly last_heartbeat: string
  readonly created_at: string
  readonly agent_profiles: readonly string[]
}

export interface AgentMessage {
  readonly message_id: string
  readonly source_instance: string
  readonly target_instance: string | null
  readonly message_type: unknown
  readonly payload: unknown
  readonly correlation_id: string | null
  readonly created_at: string
}

export interface Registered {
  readonly success: boolean
  readonly instance_id: string
  readonly is_leader: boolean
  readonly leader_id: string | null
  readonly peers: readonly MeshInstance[]
}

export interface Listed {
  readonly instances: readonly MeshInstance[]
  readonly leader_id: string | null
}

export interface Beaten {
  readonly acknowledged: boolean
  readonly leader_id: string | null
  readonly should_sync: boolean
}

export interface Queued {
  readonly message_id: string
  readonly status: string
  readonly delivered_to: readonly string[]
}

/** One answer; `json` is what the body says, where it is JSON. */
export interface Answer<Body = unknown> {
  readonly status: number
  readonly headers: Headers
  readonly text: string
  readonly json: Body
}

const JSON_HEADERS = { 'content-type': 'application/json' }

/** What spec-ai's clients do, request by request: they put ids into paths as they are. */
export class MeshClient {
  readonly #url: string
  readonly #extra: Readonly<Record<string, string>>

  /** @param extra headers of every request, such as what `http://TOKEN@host` is made of */
  constructor(hub: Pick<HubServer, 'httpUrl'>, extra: Readonly<Record<string, string>> = {}) {
    this.#url = hub.httpUrl
    this.#extra = extra
  }

  /** Any request; a body that is no string is sent as JSON. */
  async request<Body = unknown>(
    method: string,
    path: string,
    body?: unknown,
    headers: Readonly<Record<string, string>> = JSON_HEADERS,
  ): Promise<Answer<Body>> {
    const init: RequestInit = { method, signal: AbortSignal.timeout(10_000), headers: this.#extra }
    if (body !== undefined) {
      init.headers = { ...headers, ...this.#extra }
      init.body = typeof body === 'string' || body instanceof Uint8Array ? body : JSON.stringify(body)
    }
    const response = await fetch(this.#url + path, init)
    const text = await response.text()
    const isJson = response.headers.get('content-type') === 'application/json'
    return {
      status: response.status,
      headers: response.headers,
      text,
      json: (isJson && text !== '' ? JSON.parse(text) : null) as Body,
    }
  }

  async #ok<Body>(method: string, path: string, body?: unknown): Promise<Body> {
    const { status, text, json } = await this.request<Body>(method, path, body)
    if (status !== 200) throw new Error(`${method} ${path}: ${status} ${text}`)
    return json
  }

  register(instanceId: string, more: object = {}): Promise<Registered> {
    return this.#ok('POST', '/registry/register', {
      instance_id: instanceId,
      hostname: '127.0.0.1',
      port: 3001,
      capabilities: ['query'],
      agent_profiles: [],
      ...more,
    })
  }

  list(): Promise<Listed> {
    return this.#ok('GET', '/registry/agents')
  }

  /** Who is listed, and who leads them: by the entry, and by the list. */
  async ids(): Promise<readonly string[]> {
    const { instances, leader_id: leader } = await this.list()
    const leading = instances.filter((one) => one.is_leader).map((one) => one.instance_id)
    if (leading.join() !== (leader ?? '') || leading.length > 1)
      throw new Error(`${leader} leads, and by their entries do ${leading.join(', ')}`)
    return instances.map((one) => one.instance_id)
  }

  beat(instanceId: string, body: object = { status: 'healthy', metrics: null }): Promise<Answer<Beaten>> {
    return this.request('POST', `/registry/heartbeat/${instanceId}`, body)
  }

  deregister(instanceId: string): Promise<Answer> {
    return this.request('DELETE', `/registry/deregister/${instanceId}`)
  }

  /** To everybody where `target` is null. */
  send(source: string, target: string | null, payload: unknown = null, more: object = {}): Promise<Queued> {
    return this.#ok('POST', `/messages/send/${source}`, {
      target_instance: target,
      message_type: 'Notification',
      payload,
      correlation_id: null,
      ...more,
    })
  }

  async messages(instanceId: string): Promise<readonly AgentMessage[]> {
    const { messages } = await this.#ok<{ messages: AgentMessage[] }>('GET', `/messages/${instanceId}`)
    return messages
  }

  async payloads(instanceId: string): Promise<unknown[]> {
    return (await this.messages(instanceId)).map(({ payload }) => payload)
  }

  async acknowledge(instanceId: string, messageIds: readonly string[]): Promise<void> {
    const body = { message_ids: messageIds }
    const { status, text } = await this.request('POST', `/messages/ack/${instanceId}`, body)
    if (status !== 204 || text !== '') throw new Error(`acknowledging: ${status} ${text}`)
  }
}
