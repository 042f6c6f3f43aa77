import { copyFileSync, mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { onTestFinished } from 'vitest'

const FOLDER = fileURLToPath(new URL('./certificates/', import.meta.url))

/** A certificate of its own authority, for localhost, until 2126, and its key: files and what is in them. */
export interface Certificate {
  readonly certFile: string
  readonly keyFile: string
  readonly cert: string
  readonly key: string
}

/** A folder that is gone after the test. */
export function temporaryFolder(): string {
  const folder = mkdtempSync(join(tmpdir(), 'meshwire-tls-'))
  onTestFinished(() => rmSync(folder, { recursive: true, force: true }))
  return folder
}

/** Files of its own for one of the pairs of the tests; `name` is what its subject is called, by which one is told from another. */
export function certificateIn(folder: string, name: 'one' | 'two' | 'three'): Certificate {
  const certFile = join(folder, `${name}.crt`)
  const keyFile = join(folder, `${name}.key`)
  copyFileSync(join(FOLDER, `${name}.crt`), certFile)
  copyFileSync(join(FOLDER, `${name}.key`), keyFile)
  return { certFile, keyFile, cert: readFileSync(certFile, 'utf8'), key: readFileSync(keyFile, 'utf8') }
}
