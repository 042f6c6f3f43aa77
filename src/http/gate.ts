import type { IncomingHttpHeaders } from 'node:http'
import { authorityOf } from './target.ts'

/** What a gate is told; as in src/config.ts. */
export interface GateSettings {
  readonly host: string
  readonly allowedHosts: readonly string[]
  readonly allowedOrigins: readonly string[]
}

/** Why a request is not looked at. */
export interface Refusal {
  readonly status: 400 | 403
  /** For people. */
  readonly text: string
}

const LOCAL = ['localhost', '127.0.0.1', '[::1]']

/** Tokens in a URL end up in logs, histories and Referer headers. */
const TOKEN_NAMES: ReadonlySet<string> = new Set([
  'token',
  'access_token',
  'id_token',
  'auth_token',
  'jwt',
  'bearer',
  'authorization',
  'api_key',
  'apikey',
])

const bracketed = (host: string): string => (host.includes(':') && !host.startsWith('[') ? `[${host}]` : host)

/** A name in lower case and without a final dot; an address of IPv6 in the one spelling that browsers write. */
function plain(name: string): string {
  const url = `http://${name}`
  return name.startsWith('[') && URL.canParse(url)
    ? new URL(url).hostname
    : name.toLowerCase().replace(/\.$/, '')
}

/** The name in a `Host` header, without port; null where there is none to be read. */
function nameOf(host: string | undefined): string | null {
  const [, name] = /^(\[[0-9a-f:.]+\]|[^:/?#@[\]\s]+)(?::\d*)?$/i.exec(host ?? '') ?? []
  return name === undefined ? null : plain(name)
}

const isWeb = (origin: URL): boolean => origin.protocol === 'http:' || origin.protocol === 'https:'

const parseOrigin = (origin: string): URL | null => (URL.canParse(origin) ? new URL(origin) : null)

/** An origin as browsers write it; what is no URL of the web stays as it is. */
function normal(origin: string): string {
  const url = parseOrigin(origin)
  return url && isWeb(url) ? url.origin : origin.toLowerCase()
}

/**
 * Keeps web pages out that have no business here. A browser says in `Origin` which page asks, and in `Host` by which name it found this hub: a page of
 * somebody else names itself in the one, and a name of its own that leads here (DNS rebinding) in the other. Who is no browser sends no `Origin`.
 */
export class Gate {
  readonly #names: ReadonlySet<string>
  readonly #origins: ReadonlySet<string>

  constructor({ host, allowedHosts, allowedOrigins }: GateSettings) {
    const names = [...LOCAL, host, ...allowedHosts]
    this.#names = new Set(names.map((name) => plain(bracketed(name))))
    this.#origins = new Set(allowedOrigins.map(normal))
  }

  /** Whether any origin is listed. */
  get isCrossOrigin(): boolean {
    return this.#origins.size > 0
  }

  /** Whether an origin is listed, so that its pages may read what is answered (CORS). */
  isListed(origin: string | undefined): boolean {
    return origin !== undefined && this.#origins.has(normal(origin))
  }

  #isOwn(origin: string): boolean {
    const url = parseOrigin(origin)
    return url !== null && isWeb(url) && this.#names.has(url.hostname)
  }

  #isName(host: string | undefined): boolean {
    const name = nameOf(host)
    return name !== null && this.#names.has(name)
  }

  /** Null: it may pass. */
  refusal(headers: IncomingHttpHeaders, url: string | undefined): Refusal | null {
    if (!this.#isName(headers.host) || !this.#isName(authorityOf(url ?? '') ?? headers.host))
      return { status: 403, text: 'This hub does not go by that name (Host); add it to --allowed-hosts' }
    const { origin } = headers
    if (origin !== undefined && !this.isListed(origin) && !this.#isOwn(origin))
      return { status: 403, text: 'Pages of that Origin may not use this hub; add it to --allowed-origins' }
    return tokenRefusal(url)
  }
}

/** What says who asks, and so has to be said once: who reads the other one would think of somebody else. */
const SAID_ONCE: ReadonlySet<string> = new Set(['host', 'origin', 'authorization'])

/** Refuses a request that says twice who asks. `rawHeaders`: names and values by turns, as they came. */
export function doubledRefusal(rawHeaders: readonly string[]): Refusal | null {
  const seen = new Set<string>()
  for (let at = 0; at < rawHeaders.length; at += 2) {
    const name = rawHeaders[at]?.toLowerCase() ?? ''
    if (!SAID_ONCE.has(name)) continue
    if (seen.has(name)) return { status: 400, text: `Send the header ${name} once, not twice` }
    seen.add(name)
  }
  return null
}

/** Refuses a request without the `Host` that HTTP/1.1 has (RFC 9112, 3.2), also where any is taken. */
export const hostlessRefusal = (httpVersion: string, host: string | undefined): Refusal | null =>
  host === undefined && httpVersion !== '1.0' ? { status: 400, text: 'Send the header host' } : null

/** Refuses a token in a URL, also where nothing else is asked. */
export function tokenRefusal(url: string | undefined): Refusal | null {
  const at = url?.indexOf('?') ?? -1
  if (at === -1) return null
  const names = new URLSearchParams(url?.slice(at)).keys()
  if (![...names].some((name) => TOKEN_NAMES.has(name.toLowerCase()))) return null
  return {
    status: 400,
    text: 'A token does not belong into a URL; send it as "Authorization: Bearer", or in hello. Take this one out of use: it may be in logs by now',
  }
}
