import { randomBytes } from 'node:crypto'
import type { Connections } from './connections.ts'
import type { NamespaceKeys } from './keys.ts'
import type { Scripts } from './scripts.ts'
import { EpochEnded, unavailable } from './store-error.ts'

export interface Epoch {
  readonly name: string
  /** The server process that it was found on. */
  readonly server: string
}

interface Known extends Epoch {
  ended: boolean
}

/** How long agents have to come back, where all was lost, before one of them is elected. */
const QUIET_MS = 2_000

/**
 * The epoch of each namespace: the time in which the store lost nothing. It ends where the server that has the namespace is not the process it
 * was (restarted, or a replica that was promoted: nobody can tell whether it was behind), and where the store says so: it was emptied.
 * What somebody here knows of an ended epoch (numbers, revisions) may mean something else in the next one, so while somebody
 * does, calls are refused until the registry is read anew.
 */
export class Epochs {
  readonly #connections: Connections
  readonly #scripts: Scripts
  readonly #known = new Map<string, Known>()
  readonly #opening = new Map<string, Promise<Epoch>>()
  /** Namespace → subscriptions: those that know something of it. */
  readonly #holders = new Map<string, number>()

  constructor(connections: Connections, scripts: Scripts) {
    this.#connections = connections
    this.#scripts = scripts
  }

  /** Somebody keeps what it learns of this namespace. @returns the end of that */
  hold({ root }: NamespaceKeys): () => void {
    this.#holders.set(root, (this.#holders.get(root) ?? 0) + 1)
    return () => {
      const left = (this.#holders.get(root) ?? 1) - 1
      if (left > 0) this.#holders.set(root, left)
      else {
        this.#holders.delete(root)
        this.#known.delete(root)
      }
    }
  }

  /**
   * The epoch that a call is made in, or null where it has to be opened first.
   * @throws EpochEnded where somebody has to read the registry anew first; MeshError `store_unavailable`
   */
  current({ root }: NamespaceKeys): string | null {
    const server = this.#connections.serverOf(root)
    if (server === '') throw unavailable('not connected')
    const known = this.#known.get(root)
    if (known && !known.ended && known.server === server) return known.name
    if (known && this.#holders.has(root)) throw new EpochEnded()
    return null
  }

  /**
   * The epoch of now, begun where none is. Where somebody keeps what it has learned it is in force only when `adopt`ed.
   * @throws MeshError `store_unavailable`
   */
  open(keys: NamespaceKeys): Promise<Epoch> {
    const { root } = keys
    const known = this.#opening.get(root)
    if (known) return known
    const opening = this.#open(keys).finally(() => this.#opening.delete(root))
    this.#opening.set(root, opening)
    return opening
  }

  async #open({ root, meta, events, deadlines }: NamespaceKeys): Promise<Epoch> {
    const server = this.#connections.serverOf(root)
    if (server === '') throw unavailable('not connected')
    const fresh = randomBytes(9).toString('base64url')
    // Where nothing was known of it there is nobody to come back.
    const quietMs = this.#known.has(root) ? QUIET_MS : 0
    const keys = [meta, events, deadlines]
    const name = (await this.#scripts.run(this.#connections, 'open', keys, [
      server,
      fresh,
      quietMs,
    ])) as string
    const epoch = { name, server }
    if (!this.#known.has(root) || !this.#holders.has(root)) this.adopt(root, epoch)
    return epoch
  }

  /** From now on calls are made in this epoch, and what is told in it is understood. */
  adopt(root: string, { name, server }: Epoch): void {
    this.#known.set(root, { name, server, ended: false })
  }

  /** Something is told in an epoch. @returns whether it is the one that is known here; if not, that one is over */
  hears(keys: NamespaceKeys, name: string): boolean {
    const known = this.#known.get(keys.root)
    if (!known || known.name === name) return true
    this.end(keys, known.name)
    return false
  }

  /** The store says that this epoch is over. */
  end({ root, feedChannel }: NamespaceKeys, name: string): void {
    const known = this.#known.get(root)
    if (!known || known.name !== name || known.ended) return
    known.ended = true
    this.#connections.tellGap(new Set([feedChannel]))
  }
}
