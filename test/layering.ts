import { readFileSync, readdirSync, statSync } from 'node:fs'
import { builtinModules } from 'node:module'
import { dirname, join, normalize } from 'node:path'

/** One source file: its path from the root, with `/`, and its text. */
export interface SourceFile {
  readonly path: string
  readonly text: string
}

interface Import {
  readonly specifier: string
  /** `import type` or `export type`: nothing is loaded. */
  readonly typeOnly: boolean
}

/** One layer of docs/architecture.md: which files it is, and which files and packages they may import. */
interface Layer {
  readonly name: string
  readonly files: RegExp
  /** Files of ours, apart from those of the layer itself. */
  readonly imports: RegExp | null
  /** Packages, with `node:*` for what is built into Node; `null`: any. */
  readonly packages: readonly string[] | null
}

const PORTS = String.raw`src/core/[^/]+\.ts`

/** The first layer whose `files` match is a file's layer. */
const LAYERS: readonly Layer[] = [
  { name: 'protocol', files: /^protocol\//, imports: null, packages: ['zod/mini'] },
  {
    name: 'client for Node',
    files: /^client\/(node|file|file-lock)\.ts$/,
    imports: /^(protocol|client)\//,
    packages: ['node:*', 'ws'],
  },
  { name: 'client', files: /^client\//, imports: /^protocol\//, packages: [] },
  {
    name: 'core',
    files: /^src\/core\//,
    imports: /^(protocol|src\/observability)\//,
    packages: ['node:*', 'ioredis', 'nanoid'],
  },
  { name: 'auth', files: /^src\/auth\//, imports: /^protocol\//, packages: null },
  { name: 'observability', files: /^src\/observability\//, imports: /^protocol\//, packages: null },
  {
    name: 'hub',
    files: /^src\/hub\//,
    imports: new RegExp(`^(protocol/|${PORTS}$|src/auth/|src/observability/)`),
    packages: null,
  },
  {
    name: 'http and mxp',
    files: /^src\/(http|mxp)\//,
    imports: /^(protocol|src\/hub|src\/auth|src\/observability)\//,
    packages: null,
  },
  {
    name: 'testing',
    files: /^src\/testing\//,
    imports: /^(protocol\/|client\/|src\/(server|config|parse-settings)\.ts$)/,
    packages: ['node:*', 'ws'],
  },
  { name: 'cli', files: /^src\/cli\//, imports: /^(protocol\/|client\/|src\/[^/]+\.ts$)/, packages: null },
  { name: 'composition', files: /^src\/[^/]+\.ts$/, imports: /^(protocol|client|src)\//, packages: null },
  {
    name: 'dashboard',
    files: /^dashboard\//,
    imports: null,
    packages: ['meshwire/client', 'meshwire/protocol'],
  },
  { name: 'examples', files: /^examples\//, imports: null, packages: null },
  { name: 'bench', files: /^bench\//, imports: null, packages: null },
]

const PUBLISHED: ReadonlySet<string> = new Set([
  'meshwire',
  'meshwire/client',
  'meshwire/client/file',
  'meshwire/client/indexeddb',
  'meshwire/client/outbox',
  'meshwire/mxp',
  'meshwire/protocol',
  'meshwire/testing',
])

const BUILT_IN: ReadonlySet<string> = new Set(builtinModules)

/** Without whole-line and trailing comments, so that prose about a rule does not break it. */
function withoutComments(text: string): string {
  return text
    .replaceAll(/^\s*\/\*[\s\S]*?\*\//gm, '')
    .replaceAll(/^\s*\/\/.*$/gm, '')
    .replaceAll(/\s\/\/ .*$/gm, '')
}

function importsOf(code: string): Import[] {
  const found: Import[] = []
  const statement =
    /^(?:import|export)\b(?<type>\s+type\b)?(?:[^'"`;=()]*?\bfrom)?\s*['"](?<specifier>[^'"]+)['"]/gm
  for (const { groups } of code.matchAll(statement)) {
    found.push({ specifier: groups?.['specifier'] ?? '', typeOnly: groups?.['type'] !== undefined })
  }
  const call = /\b(?:import|require|require\.resolve)\(\s*['"](?<specifier>[^'"]+)['"]/g
  for (const { groups } of code.matchAll(call))
    found.push({ specifier: groups?.['specifier'] ?? '', typeOnly: false })
  return found
}

/** The path from the root that a relative import names, with the extension as written. */
function resolve(from: string, specifier: string): string {
  return normalize(join(dirname(from), specifier)).replaceAll('\\', '/')
}

function packageAllowed(specifier: string, packages: readonly string[] | null): boolean {
  if (packages === null) return true
  if (specifier.startsWith('node:') || BUILT_IN.has(specifier)) return packages.includes('node:*')
  return packages.includes(specifier)
}

function breachOfLayer(file: SourceFile, layer: Layer, { specifier }: Import): string | null {
  const may = `${layer.name} may not import`
  if (!specifier.startsWith('.')) {
    if (specifier === 'meshwire' || specifier.startsWith('meshwire/')) {
      const outside = /^(dashboard|examples|bench)\//.test(file.path)
      if (!outside)
        return `${may} ${specifier}: only dashboard, examples and bench use the published entry points`
      if (!PUBLISHED.has(specifier)) return `${may} ${specifier}: it is no published entry point`
    }
    return packageAllowed(specifier, layer.packages) ? null : `${may} ${specifier}`
  }
  const target = resolve(file.path, specifier)
  const implementation = /^src\/core\/(memory|redis)\//.exec(target)
  if (implementation !== null && file.path !== 'src/server.ts' && !file.path.startsWith(implementation[0])) {
    return `only src/server.ts names ${implementation[0]}, not ${file.path}`
  }
  if (layer.files.test(target) || layer.imports?.test(target)) return null
  return `${may} ${target}`
}

function breachOfRedis(file: SourceFile, { specifier, typeOnly }: Import): string | null {
  if (specifier !== 'ioredis' && !specifier.startsWith('ioredis/')) return null
  if (file.path === 'src/core/redis/client.ts' || file.path.startsWith('bench/')) return null
  if (typeOnly && file.path.startsWith('src/core/redis/')) return null
  return 'only src/core/redis/client.ts imports ioredis; the files beside it may import its types'
}

const ENVIRONMENT =
  /\bprocess\s*(?:\?\.|\.)\s*env\b|\bprocess\s*\[\s*['"]env['"]|\bimport\s*\{[^}]*\benv\b[^}]*\}\s*from\s*['"](?:node:)?process['"]/

function breachesOfWords(path: string, code: string): string[] {
  const found: string[] = []
  if (path.startsWith('src/') && path !== 'src/config.ts' && ENVIRONMENT.test(code)) {
    found.push('only src/config.ts reads process.env')
  }
  if (
    /^(protocol|client|src\/hub)\//.test(path) &&
    path !== 'protocol/codec.ts' &&
    /\bJSON\s*\.\s*parse\b/.test(code)
  ) {
    found.push('only protocol/codec.ts parses wire data')
  }
  return found
}

/**
 * What breaks the import table of docs/architecture.md and the rules beside it, as `path: sentence`, in the order of
 * `files`. Files outside the layers (tests, scripts) are not judged.
 */
export function breaches(files: readonly SourceFile[]): string[] {
  const found: string[] = []
  for (const file of files) {
    const layer = LAYERS.find(({ files: pattern }) => pattern.test(file.path))
    if (layer === undefined) {
      if (file.path.startsWith('src/')) found.push(`${file.path}: is in no layer`)
      continue
    }
    const code = withoutComments(file.text)
    for (const item of importsOf(code)) {
      for (const breach of [breachOfLayer(file, layer, item), breachOfRedis(file, item)]) {
        if (breach !== null) found.push(`${file.path}: ${breach}`)
      }
    }
    for (const breach of breachesOfWords(file.path, code)) found.push(`${file.path}: ${breach}`)
  }
  return found
}

/**
 * The packages that a file loads, itself or through the files it imports; types load nothing. `files` holds the whole
 * tree that may be reached.
 */
export function packagesLoadedBy(entry: string, files: readonly SourceFile[]): string[] {
  const byPath = new Map(files.map((file) => [file.path, file]))
  const seen = new Set<string>()
  const packages = new Set<string>()
  const open = [entry]
  for (let path = open.pop(); path !== undefined; path = open.pop()) {
    if (seen.has(path)) continue
    seen.add(path)
    const file = byPath.get(path)
    if (file === undefined) throw new Error(`${path} is imported and does not exist`)
    for (const { specifier, typeOnly } of importsOf(withoutComments(file.text))) {
      if (typeOnly) continue
      if (specifier.startsWith('.')) open.push(resolve(path, specifier))
      else packages.add(specifier)
    }
  }
  return [...packages].toSorted()
}

/** Every source file under `folders` of `root`; a folder that does not exist holds none. */
export function readSources(root: string, folders: readonly string[]): SourceFile[] {
  const files: SourceFile[] = []
  for (const folder of folders) {
    if (!statSync(join(root, folder), { throwIfNoEntry: false })?.isDirectory()) continue
    for (const entry of readdirSync(join(root, folder), { recursive: true, withFileTypes: true })) {
      if (!entry.isFile() || !/\.(ts|mts|js|mjs)$/.test(entry.name)) continue
      const path = join(entry.parentPath, entry.name)
      files.push({
        path: path.slice(root.length + 1).replaceAll('\\', '/'),
        text: readFileSync(path, 'utf8'),
      })
    }
  }
  return files.toSorted((a, b) => (a.path < b.path ? -1 : 1))
}
