import { createHash } from 'node:crypto'
import { readFileSync } from 'node:fs'
import type { Argument, Connections, ScriptReply } from './connections.ts'

const RECEIPTS = ['_base', '_receipts'] as const
const LANES = [...RECEIPTS, '_dead', '_inbox'] as const
const LOG = ['_base', '_dead', '_cursor'] as const
const INBOX = ['_inbox'] as const
const TASKS = [...LANES, '_tasks'] as const
const REGISTRY = [...TASKS, '_registry'] as const

/**
 * The preludes a script is sent with. What ends messages and what changes a queue or a registry has to do the same things in the
 * same way (elect, number, tell), so these stand once; everything else is in the operation's own file.
 */
const PRELUDES = {
  open: [],
  register: REGISTRY,
  enrol: REGISTRY,
  beat: REGISTRY,
  update: REGISTRY,
  leave: REGISTRY,
  reclaim: REGISTRY,
  expire: REGISTRY,
  snapshot: [],
  due: [],
  since: [],
  send: [...INBOX, '_enqueue'],
  read: [],
  unread: [],
  depth: [],
  peek: [],
  acknowledge: [...RECEIPTS, ...INBOX],
  settle: INBOX,
  'settle-receipts': [...RECEIPTS, ...INBOX],
  progress: RECEIPTS,
  reject: LANES,
  'expire-entries': LANES,
  'open-log': LOG,
  'read-log': [],
  'settle-log': LOG,
  'reject-log': [...LOG, ...INBOX],
  claim: TASKS,
  backlog: TASKS,
  held: TASKS,
  extend: TASKS,
  'settle-tasks': TASKS,
  release: TASKS,
  tick: TASKS,
  depths: [],
  redrive: [...TASKS, '_enqueue'],
  'count-dead': [],
  'purge-dead': [],
  'renew-lease': [],
  'bury-lease': [],
  'live-hubs': [],
} as const satisfies Record<string, readonly string[]>

export type ScriptName = keyof typeof PRELUDES

interface Script {
  readonly source: string
  readonly sha: string
}

const read = (name: string): string => readFileSync(new URL(`./lua/${name}.lua`, import.meta.url), 'utf8')

/** The scripts that no epoch concerns: they change nothing of a namespace, or begin one. */
const OUTSIDE: ReadonlySet<ScriptName> = new Set<ScriptName>([
  'open',
  'due',
  'count-dead',
  'renew-lease',
  'bury-lease',
  'live-hubs',
])

/** Whether a script is given its namespace's epoch: see lua/_epoch.lua. */
export const hasEpoch = (name: ScriptName): boolean => !OUTSIDE.has(name)

/** One atomic operation a file in lua/, run by its hash. */
export class Scripts {
  readonly #scripts = new Map<ScriptName, Script>()

  constructor() {
    for (const [name, preludes] of Object.entries(PRELUDES) as [ScriptName, readonly string[]][]) {
      const source = [...(hasEpoch(name) ? ['_epoch'] : []), ...preludes, name].map(read).join('\n')
      this.#scripts.set(name, { source, sha: createHash('sha1').update(source).digest('hex') })
    }
  }

  get sources(): string[] {
    return Array.from(this.#scripts.values(), ({ source }) => source)
  }

  /** @throws MeshError `store_unavailable` */
  run(
    connections: Connections,
    name: ScriptName,
    keys: readonly string[],
    args: readonly Argument[],
  ): Promise<ScriptReply> {
    const script = this.#scripts.get(name)
    if (!script) throw new Error(`no script ${name}`)
    return connections.run(script.sha, script.source, keys, args)
  }
}
