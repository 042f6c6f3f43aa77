import { timingSafeEqual } from 'node:crypto'
import { MeshError } from '../../protocol/errors.ts'
import type { Authenticator } from './authenticator.ts'
import type { Principal } from './principal.ts'
import { hashOf, readTokens, type TokenEntry, type TokenFile, versionOf } from './token-file.ts'

/** How often the file is looked at. */
const LOOK_MS = 1_000

/** What is told of a file that changes. */
export interface TokensLog {
  info(fields: object, message: string): void
  error(fields: object, message: string): void
}

/**
 * Tokens of a file, which is read again when it changes. A file that cannot be read then, or is wrong, leaves the tokens as they were and is
 * told of once; a token that is not listed any more counts no more.
 */
export class StaticTokens implements Authenticator {
  readonly required = true
  readonly #path: string
  readonly #log: TokensLog
  readonly #now: () => number
  readonly #timer: NodeJS.Timeout
  #entries: readonly TokenEntry[]
  #version: string
  #looking = false
  #onChange: () => void = () => undefined

  /** @throws TokenFileError, or what reading a file throws */
  static async open(path: string, log: TokensLog, now: () => number = Date.now): Promise<StaticTokens> {
    return new StaticTokens(path, await readTokens(path), log, now)
  }

  private constructor(path: string, { entries, version }: TokenFile, log: TokensLog, now: () => number) {
    this.#path = path
    this.#log = log
    this.#now = now
    this.#entries = entries
    this.#version = version
    this.#timer = setInterval(() => void this.look(), LOOK_MS).unref()
  }

  async authenticate(token: string | null): Promise<Principal> {
    if (token === null || token === '')
      throw new MeshError('unauthorized', 'a token is missing; send it as Authorization: Bearer, or in hello')
    const principal = this.#find(hashOf(token))
    if (principal === null)
      throw new MeshError(
        'unauthorized',
        'this token is not one of those this hub knows; ask for another one',
      )
    if (principal.expiresAt !== null && principal.expiresAt <= this.#now())
      throw new MeshError('unauthorized', 'this token has expired; ask for another one')
    return principal
  }

  /** Compares with every entry to its end: how long it takes tells nothing of any of them. */
  #find(hash: Buffer): Principal | null {
    let found: Principal | null = null
    for (const entry of this.#entries) if (timingSafeEqual(entry.hash, hash)) found = entry.principal
    return found
  }

  current({ tokenId, subject }: Principal): Principal | null {
    const principal = tokenId === null ? null : this.#find(Buffer.from(tokenId, 'hex'))
    // What this one has is its own: who is somebody else now has to come as that one.
    return principal?.subject === subject ? principal : null
  }

  onChange(listener: () => void): void {
    this.#onChange = listener
  }

  /** Reads the file again where it has changed. Never rejects. */
  async look(): Promise<void> {
    if (this.#looking) return
    this.#looking = true
    let version = 'unreadable'
    try {
      version = await versionOf(this.#path)
      if (version !== this.#version) {
        const file = await readTokens(this.#path)
        this.#entries = file.entries
        version = file.version
        this.#log.info({ file: this.#path, tokens: file.entries.length }, 'tokens read again')
        this.#onChange()
      }
    } catch (error) {
      // Once: it is tried again when the file changes once more.
      if (version !== this.#version)
        this.#log.error(
          { file: this.#path, reason: (error as Error).message },
          'tokens cannot be read again; those of before stay',
        )
    }
    this.#version = version
    this.#looking = false
  }

  close(): void {
    clearInterval(this.#timer)
  }
}
