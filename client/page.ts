import { MeshError } from '../protocol/errors.ts'
import type { Client } from './client.ts'
import { connectWith } from './core.ts'
import { Nack } from './nack.ts'
import type { ConnectOptions } from './options.ts'
import type { CreateParts } from './parts.ts'
import { StreamError } from './stream-error.ts'
import { WEB } from './web.ts'

/** Where the parts are, beside this file, with their version; scripts/client-bundle.mjs knows it. */
declare const PARTS_URL: string
/** `import` of what is not known when this is compiled. */
declare const importModule: (url: string) => Promise<unknown>

/** The module of the parts. Its errors have to be those that a page knows, so it is given the classes. */
interface PartsModule {
  readonly default: (classes: {
    readonly MeshError: typeof MeshError
    readonly Nack: typeof Nack
    readonly StreamError: typeof StreamError
  }) => CreateParts
}

/** Another URL for each attempt: browsers remember a module that could not be fetched. */
async function loadParts(attempt: number): Promise<CreateParts> {
  const module = (await importModule(attempt > 0 ? `${PARTS_URL}.${attempt}` : PARTS_URL)) as PartsModule
  return module.default({ MeshError, Nack, StreamError })
}

/** `connect` of index.ts for a page without a bundler: its parts come from a file of their own. */
export function connect(options: ConnectOptions): Promise<Client> {
  return connectWith(WEB, options, loadParts)
}

export { MeshError, Nack, StreamError }
