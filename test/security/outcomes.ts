import type { HubServer } from '../../src/server.ts'
import { openSocket } from '../support/agent.ts'
import { bearer } from '../support/authentication.ts'
import { tokenFor, type TokenFields } from '../support/tokens.ts'

const VERBS = ['register', 'send', 'broadcast', 'serve', 'discover', 'watch', 'lead', 'admin'] as const
type Verb = (typeof VERBS)[number]

/** Everything but these verbs; `more` is what of them is there all the same. */
export const allBut = (verbs: readonly Verb[], more: readonly string[] = []): string[] => [
  ...VERBS.filter((verb) => !verbs.includes(verb)),
  ...more,
]

/** Who tries: his subject, and the header with his token; neither where he has none. */
export interface Trier {
  readonly sub: string
  readonly headers: { readonly authorization: string } | null
}

let triers = 0

/** What happens without a token, with one that lacks what it takes, and with one that has it; each is somebody else. */
export async function outcomesOf(
  attempt: (trier: Trier) => Promise<string>,
  lacking: TokenFields,
  having: TokenFields = {},
): Promise<string[]> {
  const outcomes: string[] = []
  for (const fields of [null, lacking, having]) {
    const sub = `bot${(triers += 1)}`
    const headers = fields && bearer(await tokenFor(sub, fields))
    outcomes.push(await attempt({ sub, headers }))
  }
  return outcomes
}

/** The status of a request. */
export async function statusOf(
  hub: HubServer,
  { headers }: Pick<Trier, 'headers'>,
  method: string,
  path: string,
  body?: unknown,
): Promise<string> {
  const init: RequestInit = {
    method,
    headers: { ...headers, ...(body !== undefined && { 'content-type': 'application/json' }) },
  }
  if (body !== undefined) init.body = JSON.stringify(body)
  const response = await fetch(hub.httpUrl + path, init)
  await response.body?.cancel()
  return String(response.status)
}

/**
 * What becomes of a frame on a connection: `ok`, the code of the error, or that of the close.
 * @param agent fields of the agent to be; null: none
 * @param frame null: what becomes of `hello`
 */
export async function frameOutcome(
  hub: HubServer,
  { sub, headers }: Trier,
  agent: object | null,
  frame: object | null,
): Promise<string> {
  await using socket = await openSocket(hub, headers ? { headers } : {})
  const fields = agent && { name: `${sub}-name`, capabilities: ['asking'], ...agent }
  socket.send({ type: 'hello', ref: 'hello', protocol: 1, ...(fields && { agent: fields }) })
  const welcome = socket.nextWhere((one) => 'ref' in one && one.ref === 'hello', 'welcome').catch(() => null)
  const closed = socket.closed.then(({ code }) => String(code))
  if (!headers) return await closed
  const answer = await welcome
  if (answer === null) return await closed
  if (answer.type === 'error') return answer.error.code
  if (frame === null) return 'ok'
  const done = await socket.answer(frame)
  return done.type === 'error' ? done.error.code : 'ok'
}
