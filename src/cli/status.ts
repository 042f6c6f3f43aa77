import { readFileSync } from 'node:fs'
import { Command } from 'commander'
import type { DeadLettersListResult, LeaderResult } from '../../protocol/replies.ts'
import type { AgentsAnswer, HubAnswer, QueuesAnswer } from '../answers.ts'
import { explain } from './explain.ts'
import { table, visible } from './table.ts'

/** Agents shown; the others are counted. */
const AGENTS_SHOWN = 50
const ANSWER_MS = 10_000

/** What goes on in one namespace of a mesh; null: the hub cannot tell it now. */
interface Status {
  readonly url: string
  readonly namespace: string
  /** Why the hub is not ready, a sentence each; empty: it is. */
  readonly problems: readonly string[]
  readonly hubs: readonly HubAnswer[] | null
  readonly leader: LeaderResult['leader'] | null
  readonly agents: AgentsAnswer | null
  readonly queues: QueuesAnswer | null
  readonly deadLetters: DeadLettersListResult | null
}

/** The hub answers that it cannot now. */
class Unavailable extends Error {}

interface Flags {
  readonly url: string
  readonly namespace: string
  readonly json?: true
  readonly tokenFile?: string
}

/** `meshwire status`: one look at a mesh, by its operations API. */
export function statusCommand(): Command {
  return new Command('status')
    .description('Show agents, hubs, leader, queues and dead letters of a mesh')
    .option('--url <url>', 'any hub of the mesh', 'http://127.0.0.1:7171')
    .option('--namespace <name>', 'the namespace that is meant', 'default')
    .option('--token-file <path>', 'file with the token that is shown to the hub')
    .option('--json', 'print JSON')
    .action(async (flags: Flags) => {
      try {
        const status = await ask(flags)
        process.stdout.write(flags.json ? `${JSON.stringify(status, null, 2)}\n` : render(status))
        if (status.problems.length > 0) process.exitCode = 1
      } catch (error) {
        process.stderr.write(`${explain(error)}\n`)
        process.exitCode = 1
      }
    })
}

async function ask({ url, namespace, tokenFile }: Flags): Promise<Status> {
  if (!/^https?:$/.test(URL.canParse(url) ? new URL(url).protocol : ''))
    throw new Error(`--url is ${JSON.stringify(url)}; name a hub like http://127.0.0.1:7171`)
  const token = tokenFile === undefined ? null : tokenIn(tokenFile)
  const root = url.replace(/\/+$/, '')
  const failures = new Set<string>()
  const get = <Answer>(path: string): Promise<Answer | null> =>
    getJson<Answer>(url, `${root}/api/v1${path}`, token).catch((error: unknown) => {
      if (!(error instanceof Unavailable)) throw error
      failures.add(error.message)
      return null
    })
  const of = `namespace=${encodeURIComponent(namespace)}`
  const [{ reasons }, leader, agents, queues, deadLetters] = await Promise.all([
    getJson<{ reasons: readonly string[] }>(url, `${root}/ready`, token),
    get<LeaderResult>(`/leader?${of}`),
    get<AgentsAnswer>(`/agents?${of}&limit=${AGENTS_SHOWN}`),
    get<QueuesAnswer>(`/queues?${of}`),
    get<DeadLettersListResult>(`/dead-letters?${of}&limit=1000`),
  ])
  // Last: a hub serves a namespace from when it was asked about it, so none would be told of one where nobody has been yet.
  const hubs = await get<{ hubs: readonly HubAnswer[] }>(`/hubs?${of}`)
  return {
    url,
    namespace,
    problems: reasons.length > 0 ? reasons : [...failures],
    hubs: hubs?.hubs ?? null,
    leader: leader?.leader ?? null,
    agents,
    queues,
    deadLetters,
  }
}

function tokenIn(path: string): string {
  try {
    return readFileSync(path, 'utf8').trim()
  } catch (error) {
    throw new Error(`--token-file is ${JSON.stringify(path)}: ${(error as Error).message}`, { cause: error })
  }
}

/** What to do where no HTTP comes back; `code` and `reason` say why. */
function unanswered(hub: string, code: string, reason: string): string {
  if (/CERT|SIGNATURE|SELF_SIGNED/.test(code))
    return `the certificate of ${hub} is not accepted: ${reason} (${code}); name the PEM file of an authority of your own in NODE_EXTRA_CA_CERTS`
  const tls =
    hub.startsWith('http:') && code !== 'ECONNREFUSED' ? '; where it speaks TLS, ask by https://' : ''
  return `nothing answers at ${hub} (${code}); start a hub with "meshwire start", or name another one with --url${tls}`
}

async function getJson<Answer>(hub: string, url: string, token: string | null): Promise<Answer> {
  let response: Response
  let text: string
  try {
    response = await fetch(url, {
      signal: AbortSignal.timeout(ANSWER_MS),
      headers: token === null ? {} : { authorization: `Bearer ${token}` },
    })
    text = await response.text()
  } catch (error) {
    const { message, cause } = error as Error
    const { code = (cause as Error | undefined)?.message ?? message } = (cause ?? {}) as { code?: string }
    throw new Error(unanswered(hub, code, (cause as Error | undefined)?.message ?? message), { cause: error })
  }
  const answer = parse(text)
  if (response.ok && answer !== null) return answer as Answer
  const { error, reasons } = (answer ?? {}) as {
    error?: { message?: string; remedy?: string }
    reasons?: readonly string[]
  }
  // Of a hub that is not ready.
  if (response.status === 503 && Array.isArray(reasons)) return answer as Answer
  if (response.status === 503 && error?.message !== undefined) throw new Unavailable(error.message)
  if (error?.message !== undefined) {
    const remedy =
      response.status === 401 && token === null ? 'Name a file with a token by --token-file.' : error.remedy
    throw new Error(visible(`${error.message} (HTTP ${response.status}). ${remedy ?? ''}`.trimEnd()))
  }
  throw new Error(
    `what answers at ${hub} is no Meshwire hub with an operations API (HTTP ${response.status})`,
  )
}

function parse(text: string): unknown {
  try {
    return JSON.parse(text) as unknown
  } catch {
    return null
  }
}

const plural = (count: number, one: string): string => `${count} ${one}${count === 1 ? '' : 's'}`

/** `850 ms`, `12 s`, `5 min`, `3 h`, `2 d` */
function duration(ms: number): string {
  if (ms < 1_000) return `${Math.round(ms)} ms`
  if (ms < 120_000) return `${Math.round(ms / 1_000)} s`
  if (ms < 7_200_000) return `${Math.round(ms / 60_000)} min`
  if (ms < 172_800_000) return `${Math.round(ms / 3_600_000)} h`
  return `${Math.round(ms / 86_400_000)} d`
}

function render({ url, namespace, problems, hubs, leader, agents, queues, deadLetters }: Status): string {
  return [
    `Namespace ${namespace} by ${url}`,
    ...problems.map((problem) => `Not ready: ${visible(problem)}`),
    ...(hubs === null ? ['Hubs: not known'] : renderHubs(hubs)),
    leader === null ? 'Leader: not known' : renderLeader(leader),
    ...(agents === null ? ['Agents: not known'] : renderAgents(agents)),
    ...(queues === null ? ['Queues with work: not known'] : renderQueues(queues)),
    ...(deadLetters === null ? ['Dead letters: not known'] : renderDeadLetters(deadLetters)),
    '',
  ].join('\n')
}

const renderLeader = ({ agentId, term }: LeaderResult['leader']): string =>
  agentId === null ? 'Leader: none' : `Leader: ${visible(agentId)}, term ${term}`

const renderHubs = (hubs: readonly HubAnswer[]): string[] => [
  `Hubs: ${hubs.length}`,
  ...table(
    hubs.map(({ id, agents, leaseMs }) => [id, plural(agents, 'agent'), `lease ${duration(leaseMs)}`]),
  ),
]

function renderAgents({ agents, cursor, counts }: AgentsAnswer): string[] {
  const { online, degraded, offline } = counts
  const all = online + degraded + offline
  const rows = agents.map(
    ({ id, name, status, statusReason, connected, transport, capabilities, isLeader }) => [
      `${name}${id === name ? '' : ` (${id})`}`,
      `${status}${statusReason === null ? '' : `: ${statusReason}`}`,
      connected || transport !== 'websocket' ? transport : 'not connected',
      isLeader ? 'leader' : '',
      capabilities.join(' '),
    ],
  )
  const more = cursor === null ? [] : [`  … and ${all - agents.length} more`]
  return [
    `Agents: ${all} (${online} online, ${degraded} degraded, ${offline} offline)`,
    ...table(rows),
    ...more,
  ]
}

function renderQueues({ queues, cursor }: QueuesAnswer): string[] {
  const rows = queues.map(({ capability, waiting, delayed, inProgress, oldestAgeMs }) => [
    capability,
    `${waiting} waiting`,
    `${delayed} delayed`,
    `${inProgress} in progress`,
    oldestAgeMs === null ? '' : `oldest ${duration(oldestAgeMs)}`,
  ])
  return [`Queues with work: ${queues.length}${cursor === null ? '' : ' and more'}`, ...table(rows)]
}

/** How many for each reason, the most frequent first. */
function renderDeadLetters({ deadLetters, cursor, kept, dropped }: DeadLettersListResult): string[] {
  const counts = new Map<string, number>()
  for (const { reason } of deadLetters) counts.set(reason, (counts.get(reason) ?? 0) + 1)
  const rows = [...counts].toSorted(([, a], [, b]) => b - a).map(([reason, count]) => [String(count), reason])
  const notes = [
    ...(dropped === 0 ? [] : [`${dropped} lost to make room`]),
    ...(cursor === null ? [] : [`reasons of the oldest ${deadLetters.length}`]),
  ]
  return [`Dead letters: ${kept}${notes.length === 0 ? '' : ` (${notes.join('; ')})`}`, ...table(rows)]
}
