import type { Settings } from '../../src/config.ts'
import { flagOf, type SettingName } from '../../src/config.ts'
import { startHub } from '../../src/server.ts'
import type { Capture, HubKind, World } from '../client-suite/stage.ts'
import { startHubProcess } from './hub-process.ts'
import { newStore } from './hubs.ts'
import { startPortal, type Portal } from './portal.ts'
import { startTcpProxy, type TcpProxy } from './tcp-proxy.ts'

/** A hub that notices and forgives quickly, so that nothing has to be waited for. */
const QUICK: Partial<Settings> = { heartbeatIntervalMs: 200, heartbeatTimeoutMs: 200, graceMs: 300 }

interface RunningHub {
  readonly url: string
  kill(): Promise<void>
  pause(): void
  resume(): void
}

async function startHere(settings: Partial<Settings>): Promise<RunningHub> {
  const hub = await startHub({ port: 0, logLevel: 'silent', ...settings })
  const cannot = (): never => {
    throw new Error('this hub has no process of its own')
  }
  return { url: hub.url, kill: () => hub.close(), pause: cannot, resume: cannot }
}

async function startProcess(settings: Partial<Settings>): Promise<RunningHub> {
  const flags = Object.entries(settings).map(([name, value]) => [flagOf(name as SettingName), String(value)])
  return startHubProcess(Object.fromEntries(flags) as Record<string, string>)
}

const portOf = (url: string): number => Number(new URL(url).port)

/** A hub behind a proxy, for one test. */
export class HubWorld implements World, AsyncDisposable {
  readonly url: string
  readonly proxy: TcpProxy
  readonly #start: () => Promise<RunningHub>
  #hub: RunningHub
  #portal: Portal | null = null

  constructor(proxy: TcpProxy, hub: RunningHub, start: () => Promise<RunningHub>) {
    this.url = `ws://127.0.0.1:${proxy.port}/mesh`
    this.proxy = proxy
    this.#hub = hub
    this.#start = start
  }

  /** Where the hub is, without the proxy between. */
  get hubUrl(): string {
    return this.#hub.url
  }

  async cut(): Promise<void> {
    this.proxy.cut()
  }

  async stall(): Promise<void> {
    this.proxy.stall()
  }

  async refuse(): Promise<void> {
    this.proxy.refuse()
  }

  async capture(capture: Capture): Promise<void> {
    await this.#release()
    this.#portal = await startPortal(capture)
    this.proxy.targetPort = this.#portal.port
    this.proxy.cut()
  }

  async heal(): Promise<void> {
    this.proxy.heal()
    this.proxy.targetPort = portOf(this.#hub.url)
    await this.#release()
  }

  async #release(): Promise<void> {
    await this.#portal?.[Symbol.asyncDispose]()
    this.#portal = null
  }

  async killHub(): Promise<void> {
    await this.#hub.kill()
  }

  async startHub(): Promise<void> {
    this.#hub = await this.#start()
    this.proxy.targetPort = portOf(this.#hub.url)
  }

  /** It stays connected and does nothing, until `resumeHub`. */
  pauseHub(): void {
    this.#hub.pause()
  }

  resumeHub(): void {
    this.#hub.resume()
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#release()
    await this.proxy[Symbol.asyncDispose]()
    await this.#hub.kill()
  }
}

/** Starts a hub with an empty store of its own, and the proxy in front of it. */
export async function startWorld(
  kind: HubKind = 'here',
  settings: Partial<Settings> = {},
): Promise<HubWorld> {
  const store = await newStore(kind === 'process on redis' ? 'redis' : 'memory')
  const all = { ...QUICK, ...store, ...settings }
  const start = (): Promise<RunningHub> => (kind === 'here' ? startHere(all) : startProcess(all))
  const hub = await start()
  return new HubWorld(await startTcpProxy(portOf(hub.url)), hub, start)
}
