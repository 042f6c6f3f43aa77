import {
  type AgentOptions,
  type Client,
  connect,
  type MessagesOf,
  type ObserverOptions,
  type Schemas,
} from '../../client/node.ts'
import { parseSettings } from '../parse-settings.ts'
import {
  type Core,
  createMemoryCore,
  type HubServer,
  type HubServerOptions,
  type Settings,
  startHub,
} from '../server.ts'
import { FakeAgent, type FakeAgentOptions } from './fake-agent.ts'
import { Gate } from './gate.ts'

/** What a test hub has that another hub does not: nobody wants to wait, or to be limited. docs/testing.md lists it. */
const TEST_SETTINGS = {
  logLevel: 'silent',
  heartbeatIntervalMs: 2000,
  heartbeatTimeoutMs: 1000,
  graceMs: 250,
  ackTimeoutMs: 2000,
  handshakesPerSecond: 0,
  ratePerSecond: 0,
} as const satisfies Partial<Settings>

/** A handler that hangs should not hold up a test that is over. */
const CLOSE_TIMEOUT_MS = 500

/** Settings as in docs/configuration.md, apart from those of Redis: a test hub keeps everything in this process. */
export type TestHubOptions = Omit<
  HubServerOptions,
  'core' | 'host' | 'keyPrefix' | 'redisUrl' | 'redisCa' | 'redisCert' | 'redisKey' | 'workers'
>

/** Options of the client; `url` is the hub's, and an agent needs no name. */
export type TestClientOptions = Partial<Omit<AgentOptions, 'url'>> | Omit<ObserverOptions, 'url'>

export interface RestartOptions {
  /** True: a hub that knows nothing of what was, like an embedded one. Default false: like one whose Redis lives on. */
  readonly forget?: boolean
}

/** A hub in this process for a test, its clients and its fake agents; all of them end with `close()` or `await using`. */
export interface TestHub extends AsyncDisposable {
  /** Where clients connect; the same over restarts. */
  readonly url: string
  /**
   * The bundled client, connected to this hub; closed with it. Without `name` it is `client-1`, `client-2` …; without `id` its
   * id is its name; without `capabilities` it has `test`.
   * Its messages have types as those of `connect` of `meshwire/client`: by `schemas`, or by `connect<Messages>()`.
   * @throws as `connect` of `meshwire/client`; `AbortError` by name where the hub is closed first
   */
  connect<Given extends Schemas>(
    options: TestClientOptions & { readonly schemas: Given },
  ): Promise<Client<MessagesOf<Given>>>
  connect(options?: TestClientOptions): Promise<Client>
  connect<Messages>(options?: TestClientOptions): Promise<Client<Messages>>
  /** An agent whose behaviour the test scripts. @throws MeshError where the hub refuses it */
  fakeAgent(options?: FakeAgentOptions): Promise<FakeAgent>
  /** Ends every connection without a word, like a network that breaks; answers how many there were. */
  cut(): number
  /** The hub ends as by `SIGTERM` without a drain: 4001 to its clients. Until `start` nobody answers at its address. */
  stop(): Promise<void>
  /** A new hub at the same address. */
  start(options?: RestartOptions): Promise<void>
  /** `stop`, then `start`. */
  restart(options?: RestartOptions): Promise<void>
  /** Closes its clients, its fake agents and the hub. */
  close(): Promise<void>
}

/**
 * Starts a hub in this process, with the embedded core, on a free port of the loopback address, with short times and without a
 * log.
 * @throws ConfigError for settings against a rule; Error where `port` is taken
 */
export async function startTestHub(options: TestHubOptions = {}): Promise<TestHub> {
  const { port = 0, logger, ...given } = options
  const settings = { ...TEST_SETTINGS, ...given }
  const limits = parseSettings(settings)
  const gate = await Gate.open(port)
  const url = `ws://127.0.0.1:${gate.port}/mesh`
  const ended = new AbortController()
  const clients = new Set<Promise<Client>>()
  const agents = new Set<Promise<FakeAgent>>()
  let core: Core = createMemoryCore({ limits })
  let hub: HubServer | null = null
  let clientsNamed = 0
  let agentsNamed = 0

  const check = (): void => {
    if (ended.signal.aborted) throw new Error('this test hub is closed; start another one')
  }
  const stop = async (): Promise<void> => {
    gate.target = null
    await hub?.close()
    hub = null
    gate.cut()
  }
  const start = async ({ forget = false }: RestartOptions = {}): Promise<void> => {
    check()
    await stop()
    if (forget) {
      await core.close()
      core = createMemoryCore({ limits })
    }
    hub = await startHub({ ...settings, port: 0, core, ...(logger && { logger }) })
    gate.target = hub.port
  }
  const close = async (): Promise<void> => {
    ended.abort()
    const members = await Promise.allSettled([...clients, ...agents])
    const joined = members.flatMap((member) => (member.status === 'fulfilled' ? [member.value] : []))
    await Promise.all(joined.map((member) => member.close()))
    await stop()
    await core.close()
    await gate.close()
  }
  let closing: Promise<void> | null = null
  const closeOnce = (): Promise<void> => (closing ??= close())

  const clientOptions = (from: TestClientOptions): AgentOptions | ObserverOptions => {
    const signal = from.signal ? AbortSignal.any([ended.signal, from.signal]) : ended.signal
    const common = { closeTimeoutMs: CLOSE_TIMEOUT_MS, ...from, url, signal }
    if (common.observer === true) return common
    const name = common.name ?? `client-${(clientsNamed += 1)}`
    return { id: name, capabilities: ['test'], ...common, name }
  }

  const connectClient = async (from: TestClientOptions = {}): Promise<Client> => {
    check()
    const client = connect(clientOptions(from))
    clients.add(client)
    return client
  }

  await start()
  return {
    url,
    // The same object whatever its messages are called.
    connect: connectClient as TestHub['connect'],
    async fakeAgent(from = {}) {
      check()
      const agent = FakeAgent.join(url, { ...from, name: from.name ?? `fake-${(agentsNamed += 1)}` })
      agents.add(agent)
      return agent
    },
    cut: () => gate.cut(),
    stop,
    start,
    restart: start,
    close: closeOnce,
    [Symbol.asyncDispose]: closeOnce,
  }
}
