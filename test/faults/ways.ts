import { startTcpProxy, type TcpProxy, type Translation } from '../support/tcp-proxy.ts'

/** Puts other ports in place of those that servers tell of themselves; both written in as many digits. */
function translation(texts: readonly (readonly [told: string, instead: string])[]): Translation {
  const pairs = texts.map(([told, instead]) => {
    if (told.length !== instead.length) throw new Error(`"${instead}" is not as long as "${told}"`)
    return [Buffer.from(told), Buffer.from(instead)] as const
  })
  return (bytes) => {
    for (const [told, instead] of pairs)
      for (let at = bytes.indexOf(told); at >= 0; at = bytes.indexOf(told, at + told.length))
        instead.copy(bytes, at)
    return bytes
  }
}

/**
 * The ways of hubs to several servers: each hub has a proxy for each server. Servers tell hubs where others are; what they tell is
 * changed on the way, so that a hub goes on by its own proxies. One that is told in two pieces passes as it is: then that
 * connection has no proxy.
 */
export class Ways {
  /** How a port is written where a server tells it. */
  readonly #write: (port: number) => string
  readonly #byHub: (readonly TcpProxy[])[] = []

  constructor(write: (port: number) => string) {
    this.#write = write
  }

  get all(): readonly (readonly TcpProxy[])[] {
    return this.#byHub
  }

  /** Opens that hub's way to these ports; answers the ports of its proxies, in the same order. */
  async open(hub: number, ports: readonly number[]): Promise<number[]> {
    const texts: [string, string][] = []
    let translate: Translation = (bytes) => bytes
    const proxies = await Promise.all(ports.map((port) => startTcpProxy(port, (bytes) => translate(bytes))))
    this.#byHub[hub] = proxies
    for (const [index, { port }] of proxies.entries())
      texts.push([this.#write(ports[index] ?? 0), this.#write(port)])
    translate = translation(texts)
    return proxies.map(({ port }) => port)
  }

  heal(): void {
    for (const proxy of this.#byHub.flat()) proxy.heal()
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await Promise.all(this.#byHub.flat().map((proxy) => proxy[Symbol.asyncDispose]()))
  }
}
