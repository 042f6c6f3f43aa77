import { MeshError } from '../../protocol/errors.ts'
import { ConfigError } from '../config.ts'

/** What a person is told of an error that ends the program. */
export function explain(error: unknown): string {
  if (error instanceof ConfigError) return error.message.replaceAll(/^/gm, 'meshwire: ')
  if (error instanceof MeshError) return `meshwire: ${error.message}`
  const { code, message } = error as NodeJS.ErrnoException
  if (code === 'EADDRINUSE')
    return `meshwire: ${message}; choose another port with --port, or --port 0 for any free one`
  return `meshwire: ${message}`
}
