import { createHash } from 'node:crypto'
import { readFileSync } from 'node:fs'
import type { Argument, Connections, ScriptReply } from './connections.ts'

const RECEIPTS = ['_base', '_receipts'] as const
const LANES = [...RECEIPTS, '_dead'] as const
const LOG = ['_base', '_dead', '_cursor'] as const
const TASKS = [...LANES, '_tasks'] as const
const REGISTRY = [...TASKS, '_registry'] as const

/**
 * The preludes a script is sent with. What ends messages and what changes a queue or a registry has to do the same things in the
 * same way (elect, number, tell), so these stand once; everything else is in the operation's own file.
 */
const PRELUDES = {
  register: REGISTRY,
  update: REGISTRY,
  leave: REGISTRY,
  reclaim: REGISTRY,
  expire: REGISTRY,
  snapshot: [],
  due: [],
  since: [],
  send: ['_enqueue'],
  read: [],
  settle: [],
  'settle-receipts': RECEIPTS,
  progress: RECEIPTS,
  reject: LANES,
  'expire-entries': LANES,
  'open-log': LOG,
  'read-log': [],
  'settle-log': LOG,
  'reject-log': LOG,
  claim: TASKS,
  held: TASKS,
  extend: TASKS,
  'settle-tasks': TASKS,
  release: TASKS,
  tick: TASKS,
  redrive: [...TASKS, '_enqueue'],
  'count-dead': [],
  'purge-dead': [],
  'renew-lease': [],
  'bury-lease': [],
} as const satisfies Record<string, readonly string[]>

export type ScriptName = keyof typeof PRELUDES

interface Script {
  readonly source: string
  readonly sha: string
}

const read = (name: string): string => readFileSync(new URL(`./lua/${name}.lua`, import.meta.url), 'utf8')

/** One atomic operation a file in lua/, run by its hash. */
export class Scripts {
  readonly #connections: Connections
  readonly #scripts = new Map<ScriptName, Script>()

  constructor(connections: Connections) {
    this.#connections = connections
    for (const [name, preludes] of Object.entries(PRELUDES) as [ScriptName, readonly string[]][]) {
      const source = [...preludes, name].map(read).join('\n')
      this.#scripts.set(name, { source, sha: createHash('sha1').update(source).digest('hex') })
    }
    connections.keepLoaded([...this.#scripts.values()].map(({ source }) => source))
  }

  /** @throws MeshError `store_unavailable` */
  run(name: ScriptName, keys: readonly string[], args: readonly Argument[]): Promise<ScriptReply> {
    const script = this.#scripts.get(name)
    if (!script) throw new Error(`no script ${name}`)
    return this.#connections.run(script.sha, script.source, keys, args)
  }
}
