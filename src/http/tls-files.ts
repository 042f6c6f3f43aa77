import { type FSWatcher, readFileSync, watch } from 'node:fs'
import { readFile } from 'node:fs/promises'
import { dirname } from 'node:path'
import { createSecureContext, type TlsOptions } from 'node:tls'
import type { Log } from '../observability/log.ts'

/** A certificate with its key, PEM. */
export interface Pair {
  readonly cert: string
  readonly key: string
}

/** Where they are. */
export interface PairFiles {
  readonly cert: string
  readonly key: string
}

/** What this hub speaks of TLS, whatever its certificate. */
export const TLS = {
  minVersion: 'TLSv1.2',
  /** Milliseconds in which a peer has to finish its handshake. */
  handshakeTimeout: 10_000,
} as const satisfies TlsOptions

/** After a change was heard of, how long others may follow that belong to it. */
const SETTLE_MS = 200
/** How often the files are read in any case: not every file system tells of changes. */
const LOOK_MS = 10_000

/** @throws Error where it is no certificate, no key, or the key is that of another certificate */
function check(pair: Pair): void {
  createSecureContext({ ...pair, minVersion: TLS.minVersion })
}

/** The pair in these files. @throws Error where a file cannot be read or the two are no pair */
export function readPair(files: PairFiles): Pair {
  const pair = { cert: readFileSync(files.cert, 'utf8'), key: readFileSync(files.key, 'utf8') }
  check(pair)
  return pair
}

/** What takes a new pair; those who are connected already go on with what they have. */
interface Taker {
  setSecureContext(options: TlsOptions): void
}

/**
 * Keeps a server's certificate what its files say. While they are no pair (one of them is written before the other) or cannot be read, the
 * former one stays, and the log says so.
 */
export class TlsFiles {
  readonly #files: PairFiles
  readonly #server: Taker
  readonly #log: Log
  readonly #watchers: FSWatcher[] = []
  readonly #timer: NodeJS.Timeout
  #settling: NodeJS.Timeout | null = null
  #current: Pair
  /** What was said of the files last, so that it is said once. */
  #said = ''

  /** @param options how often the files are read in any case; whether changes are listened for */
  constructor(
    files: PairFiles,
    current: Pair,
    server: Taker,
    log: Log,
    { lookMs = LOOK_MS, watching = true }: { lookMs?: number; watching?: boolean } = {},
  ) {
    this.#files = files
    this.#current = current
    this.#server = server
    this.#log = log
    // Folders: a file that is replaced, or a link that is set anew, is another one.
    for (const folder of new Set([dirname(files.cert), dirname(files.key)])) if (watching) this.#watch(folder)
    this.#timer = setInterval(() => void this.#look(), lookMs)
    this.#timer.unref()
  }

  #watch(folder: string): void {
    try {
      const watcher = watch(folder, { persistent: false }, () => this.#onChange())
      // Then the files are looked at every now and then all the same.
      watcher.on('error', () => watcher.close())
      this.#watchers.push(watcher)
    } catch (error) {
      this.#log.debug({ err: error, folder }, 'folder cannot be watched')
    }
  }

  #onChange(): void {
    if (this.#settling) clearTimeout(this.#settling)
    this.#settling = setTimeout(() => void this.#look(), SETTLE_MS)
    this.#settling.unref()
  }

  /** Takes what the files say now, if it is another pair. Never rejects. */
  async #look(): Promise<void> {
    try {
      const [cert, key] = await Promise.all([
        readFile(this.#files.cert, 'utf8'),
        readFile(this.#files.key, 'utf8'),
      ])
      if (cert === this.#current.cert && key === this.#current.key) {
        this.#said = ''
        return
      }
      const pair = { cert, key }
      check(pair)
      this.#server.setSecureContext({ ...pair, minVersion: TLS.minVersion })
      this.#current = pair
      this.#said = ''
      this.#log.info({ cert: this.#files.cert }, 'certificate read again')
    } catch (error) {
      const { message } = error as Error
      if (message === this.#said) return
      this.#said = message
      this.#log.error(
        { err: error, cert: this.#files.cert, key: this.#files.key },
        'certificate and key cannot be used, the former ones stay',
      )
    }
  }

  close(): void {
    clearInterval(this.#timer)
    if (this.#settling) clearTimeout(this.#settling)
    for (const watcher of this.#watchers) watcher.close()
  }
}
