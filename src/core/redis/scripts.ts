import { createHash } from 'node:crypto'
import { readFileSync } from 'node:fs'
import type { Argument, Connections, ScriptReply } from './connections.ts'

/**
 * The preludes a script is sent with. What gives messages up and what changes a registry has to do the same things in the
 * same way (elect, number, tell), so these stand once; everything else is in the operation's own file.
 */
const PRELUDES = {
  register: ['_dead', '_registry'],
  update: ['_dead', '_registry'],
  leave: ['_dead', '_registry'],
  expire: ['_dead', '_registry'],
  snapshot: [],
  due: [],
  since: [],
  send: [],
  read: [],
  settle: [],
  reject: ['_dead'],
  'expire-entries': ['_dead'],
  'open-log': ['_dead', '_cursor'],
  'read-log': [],
  'settle-log': ['_dead', '_cursor'],
  'reject-log': ['_dead', '_cursor'],
  'renew-lease': [],
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
