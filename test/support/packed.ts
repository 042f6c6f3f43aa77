import { execFile } from 'node:child_process'
import { mkdir, mkdtemp, readFile, rm, symlink, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { promisify } from 'node:util'
import { ROOT } from './run.ts'

const execute = promisify(execFile)

/** What `npm pack` says of a tarball. */
interface Report {
  readonly filename: string
  /** Bytes of the tarball. */
  readonly size: number
  readonly unpackedSize: number
  readonly files: readonly { readonly path: string }[]
}

/** A user's project that has installed the package as it would be published, and nothing else of this checkout. */
export interface Packed extends AsyncDisposable {
  readonly folder: string
  /** Where the package is in it. */
  readonly installed: string
  readonly report: Report
  /** Writes a file of the project; its path. */
  write(name: string, text: string): Promise<string>
  /** Runs Node in the project; its standard output. @throws Error with what it wrote where it fails */
  node(...args: readonly string[]): Promise<string>
}

/**
 * Packs dist/ as it is, and installs the tarball in a new folder without a network: of this checkout's packages only the
 * dependencies are linked there, and those named in `extra`.
 */
export async function installPacked(extra: readonly string[] = []): Promise<Packed> {
  const folder = await mkdtemp(join(tmpdir(), 'meshwire-packed-'))
  const dispose = () => rm(folder, { recursive: true, force: true })
  try {
    const pack = ['pack', '--json', '--ignore-scripts', '--offline', '--pack-destination', folder]
    const { stdout } = await execute('npm', pack, { cwd: ROOT, maxBuffer: 16 * 1_048_576 })
    const [report] = JSON.parse(stdout) as [Report]
    const installed = join(folder, 'node_modules', 'meshwire')
    await mkdir(installed, { recursive: true })
    await execute('tar', ['-xzf', join(folder, report.filename), '--strip-components=1', '-C', installed])
    const { dependencies } = JSON.parse(await readFile(join(installed, 'package.json'), 'utf8')) as {
      readonly dependencies: Record<string, string>
    }
    for (const name of [...Object.keys(dependencies), ...extra]) {
      const link = join(folder, 'node_modules', name)
      await mkdir(dirname(link), { recursive: true })
      await symlink(join(ROOT, 'node_modules', name), link)
    }
    return {
      folder,
      installed,
      report,
      async write(name, text) {
        const path = join(folder, name)
        await mkdir(dirname(path), { recursive: true })
        await writeFile(path, text)
        return path
      },
      async node(...args) {
        const env = { ...process.env, NODE_OPTIONS: '', VITEST: undefined, NODE_TEST_CONTEXT: undefined }
        const run = execute(process.execPath, args, { cwd: folder, env, timeout: 30_000 })
        const { stdout: output } = await run.catch((error: Error & { stdout: string; stderr: string }) => {
          throw new Error(`${error.message}\n${error.stdout}\n${error.stderr}`, { cause: error })
        })
        return output
      },
      [Symbol.asyncDispose]: dispose,
    }
  } catch (error) {
    await dispose()
    throw error
  }
}
