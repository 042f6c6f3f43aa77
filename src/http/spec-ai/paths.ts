import { originForm } from '../target.ts'

/** What is asked for, and the id that the path names. */
export interface Route {
  readonly name: 'register' | 'agents' | 'heartbeat' | 'deregister' | 'send' | 'acknowledge' | 'messages'
  readonly method: 'GET' | 'POST' | 'DELETE'
  /** As it stands in the path; `""` where there is none. */
  readonly rawId: string
  /** How the original calls it in errors. */
  readonly idName: 'instance_id' | 'source_instance'
}

type Pattern = readonly [name: Route['name'], method: Route['method'], ...segments: string[]]

/** `*` is an id. The first that fits counts, so `/messages/send/ack` is a message from `ack`. */
const PATTERNS: readonly Pattern[] = [
  ['register', 'POST', 'registry', 'register'],
  ['agents', 'GET', 'registry', 'agents'],
  ['heartbeat', 'POST', 'registry', 'heartbeat', '*'],
  ['deregister', 'DELETE', 'registry', 'deregister', '*'],
  ['send', 'POST', 'messages', 'send', '*'],
  ['acknowledge', 'POST', 'messages', 'ack', '*'],
  // The way the client of spec-ai-core acknowledges.
  ['acknowledge', 'POST', 'messages', '*', 'ack'],
  ['messages', 'GET', 'messages', '*'],
]

const OURS = /^\/(?:registry|messages)\//

/** Whether a URL belongs to this API, served or not. */
export const isSpecAiUrl = (url: string): boolean => OURS.test(url)

/** The route of a URL, whatever the method; null: there is none. An empty segment is none, nor is one too many. */
export function findRoute(url: string): Route | null {
  const [path = ''] = originForm(url).split('?')
  const given = path.slice(1).split('/')
  for (const [name, method, ...segments] of PATTERNS) {
    if (segments.length !== given.length) continue
    if (!segments.every((segment, at) => (segment === '*' ? given[at] !== '' : segment === given[at])))
      continue
    const idAt = segments.indexOf('*')
    return {
      name,
      method,
      rawId: idAt < 0 ? '' : (given[idAt] ?? ''),
      idName: name === 'send' ? 'source_instance' : 'instance_id',
    }
  }
  return null
}

/** What `allow` says of a route. */
export const allowOf = ({ method }: Route): string => (method === 'GET' ? 'GET,HEAD' : method)

const UTF8 = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true })

/** An id out of a path, percent-decoded; what is no escape stays. Null where it is not UTF-8. */
export function decodeId(rawId: string): string | null {
  if (!rawId.includes('%')) return rawId
  const parts = rawId.split(/(%[0-9A-Fa-f]{2})/)
  const bytes = parts.map((part, at) =>
    at % 2 === 0 ? Buffer.from(part) : Buffer.of(Number.parseInt(part.slice(1), 16)),
  )
  try {
    return UTF8.decode(Buffer.concat(bytes))
  } catch {
    return null
  }
}
