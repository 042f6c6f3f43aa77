import { z } from 'zod'
import { show } from '../../../../protocol/agent.ts'
import { MeshError } from '../../../../protocol/errors.ts'

/** `metadata[team]=search` */
const DEEP = /^([A-Za-z]+)\[(.*)\]$/s

const isList = (schema: z.core.$ZodType | undefined): boolean => unwrap(schema) instanceof z.ZodArray
const isMap = (schema: z.core.$ZodType | undefined): boolean =>
  schema !== undefined && schemaKind(schema) === 'map'

/** What is inside of `optional` and `default`. */
export function unwrap(schema: z.core.$ZodType | undefined): z.core.$ZodType | undefined {
  let inner = schema
  while (inner instanceof z.ZodOptional || inner instanceof z.ZodDefault) inner = inner.unwrap()
  return inner
}

/** How a parameter is written: once, several times, or with keys in brackets. */
export function schemaKind(schema: z.core.$ZodType): 'one' | 'list' | 'map' {
  const inner = unwrap(schema)
  if (inner instanceof z.ZodArray) return 'list'
  return z.globalRegistry.get(inner as z.ZodType)?.['deep'] === true ? 'map' : 'one'
}

/**
 * The parameters of a URL as an operation's schema wants them. Anything that can be a URL can be read: what is wrong with it is told.
 * @throws MeshError `bad_request` where a parameter is unknown or given too often
 */
export function readQuery(url: string, schema: z.ZodObject): Record<string, unknown> {
  const { shape } = schema
  const at = url.indexOf('?')
  // Own properties, whatever they are called.
  const found = new Map<string, unknown>()
  for (const [key, value] of new URLSearchParams(at === -1 ? '' : url.slice(at + 1))) {
    const [, name = key, inner] = DEEP.exec(key) ?? []
    const field = Object.hasOwn(shape, name) ? shape[name] : undefined
    if (field === undefined || isMap(field) !== (inner !== undefined)) {
      const known = Object.entries(shape).map(([one, of]) => (isMap(of) ? `${one}[…]` : one))
      throw new MeshError(
        'bad_request',
        `parameter ${show(key)} is unknown; there are ${known.join(', ') || 'none'}`,
      )
    }
    const before = found.get(name)
    if (inner !== undefined)
      found.set(name, { ...(before as object), ...Object.fromEntries([[inner, value]]) })
    else if (isList(field)) found.set(name, [...((before as string[] | undefined) ?? []), value])
    else if (before === undefined) found.set(name, value)
    else throw new MeshError('bad_request', `parameter ${show(key)} is given more than once; give it once`)
  }
  return Object.fromEntries(found)
}
