import type { IncomingMessage } from 'node:http'
import { BlockList, isIP } from 'node:net'
import { networkOf, plain } from '../hub/network.ts'

const family = (address: string): 'ipv4' | 'ipv6' => (isIP(address) === 6 ? 'ipv6' : 'ipv4')

/** One element of X-Forwarded-For as an address, or null; some proxies add the port. */
function parse(element: string): string | null {
  const text = element.trim()
  const [, bracketed, withPort] = /^(?:\[([0-9a-fA-F:.]+)\](?::\d{1,5})?|([0-9.]+):\d{1,5})$/.exec(text) ?? []
  const address = plain(bracketed ?? withPort ?? text)
  return isIP(address) === 0 ? null : address
}

/** Where requests come from, for counting by address. */
export class Addresses {
  readonly #trusted = new BlockList()
  readonly #trusting: boolean

  /** @param trustedProxies addresses and networks whose X-Forwarded-For is believed */
  constructor(trustedProxies: readonly string[]) {
    this.#trusting = trustedProxies.length > 0
    for (const proxy of trustedProxies) {
      const [network = '', bits] = proxy.split('/')
      const address = bits === undefined ? plain(network) : network
      if (bits === undefined) this.#trusted.addAddress(address, family(address))
      else this.#trusted.addSubnet(address, Number(bits), family(address))
    }
  }

  /**
   * What to count a request by: its peer's address, of IPv6 the /64. Where the peer is a trusted proxy, the last address in its
   * X-Forwarded-For that is none: everything before that one is only what the client says.
   */
  keyOf({ socket, headers }: Pick<IncomingMessage, 'socket' | 'headers'>): string {
    const peer = plain(socket.remoteAddress ?? '')
    return networkOf(this.#trusting ? this.#behind(peer, headers['x-forwarded-for']) : peer)
  }

  #behind(peer: string, forwarded: string | string[] | undefined): string {
    let address = peer
    const elements = String(forwarded ?? '').split(',')
    while (elements.length > 0 && this.#isTrusted(address)) {
      const before = parse(elements.pop() ?? '')
      if (before === null) break
      address = before
    }
    return address
  }

  #isTrusted(address: string): boolean {
    return isIP(address) !== 0 && this.#trusted.check(address, family(address))
  }
}
