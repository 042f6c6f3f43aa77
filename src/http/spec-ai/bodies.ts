import { LIMITS } from '../../../protocol/limits.ts'
import { type Json, writeJson } from './json-text.ts'
import { type SpecAiType, type Unit, UNITS } from './message-types.ts'

/** JSON that does not fit; begins with the path of what does not, as serde tells it. */
export class DataError extends Error {
  override readonly name = 'DataError'
}

export interface RegisterBody {
  readonly instanceId: string
  readonly hostname: string
  readonly port: number
  readonly capabilities: readonly string[]
  readonly agentProfiles: readonly string[]
}

export interface HeartbeatBody {
  readonly status: string
  /** Those of the metrics that are numbers. */
  readonly metrics: Readonly<Record<string, number>> | null
}

export interface SendBody {
  readonly target: string | null
  readonly type: SpecAiType
  /** JSON in one line. */
  readonly payload: string
  readonly correlationId: string | null
}

/** Ids that the paths have another meaning for: see `/messages/send/ack`. */
const RESERVED_IDS: ReadonlySet<string> = new Set(['send', 'ack'])

const U16_MAX = 65_535

function shownType(value: Json): string {
  switch (value.kind) {
    case 'null':
      return 'null'
    case 'boolean':
      return `boolean \`${value.value}\``
    case 'number':
      return isInteger(value.text)
        ? `integer \`${value.text}\``
        : `floating point \`${value.text.slice(0, 80)}\``
    case 'string':
      return `string ${JSON.stringify(value.value.slice(0, 80))}`
    case 'array':
      return 'sequence'
    case 'object':
      return 'map'
  }
}

/** Whether serde_json reads it as one: `1.0`, `-0` and what no 64 bits hold are floats. */
function isInteger(text: string): boolean {
  // No 64 bits hold more digits, and making a number of millions of them would take long.
  if (text.length > 20 || !/^-?\d+$/.test(text) || text === '-0') return false
  const value = BigInt(text)
  return value >= -(2n ** 63n) && value < 2n ** 64n
}

const wrong = (path: string, value: Json, expected: string): DataError =>
  new DataError(`${path}: invalid type: ${shownType(value)}, expected ${expected}`)

function readString(path: string, value: Json): string {
  if (value.kind !== 'string') throw wrong(path, value, 'a string')
  return value.value
}

function readStrings(path: string, value: Json): string[] {
  if (value.kind !== 'array') throw wrong(path, value, 'a sequence')
  return value.items.map((item, index) => readString(`${path}[${index}]`, item))
}

/** A string where there is one. */
function readOptional(path: string, value: Json): string | null {
  return value.kind === 'null' ? null : readString(path, value)
}

function readPort(path: string, value: Json): number {
  if (value.kind !== 'number' || !isInteger(value.text)) throw wrong(path, value, 'u16')
  const port = Number(value.text)
  if (port >= 0 && port <= U16_MAX) return port
  throw new DataError(`${path}: invalid value: integer \`${value.text}\`, expected u16`)
}

function readType(path: string, value: Json): SpecAiType {
  if (value.kind === 'string') return readUnit(path, value.value)
  if (value.kind !== 'object') throw wrong(path, value, 'enum MessageType')
  const [member, more] = value.members
  if (member === undefined || more !== undefined) {
    throw new DataError(`${path}: invalid value: map, expected map with a single key`)
  }
  const [name, content] = member
  if (name === 'Custom') return { custom: readString(`${path}.Custom`, content) }
  const unit = readUnit(path, name)
  if (content.kind !== 'null') throw wrong(`${path}.${name}`, content, 'unit')
  return unit
}

function readUnit(path: string, name: string): SpecAiType {
  if (Object.hasOwn(UNITS, name)) return { unit: name as Unit }
  if (name === 'Custom') {
    throw new DataError(`${path}: invalid type: unit variant, expected newtype variant`)
  }
  const known = [...Object.keys(UNITS), 'Custom'].map((one) => `\`${one}\``).join(', ')
  throw new DataError(`${path}: unknown variant \`${name.slice(0, 80)}\`, expected one of ${known}`)
}

function readMetrics(path: string, value: Json): Readonly<Record<string, number>> | null {
  if (value.kind === 'null') return null
  if (value.kind !== 'object') throw wrong(path, value, 'a map')
  const metrics = new Map<string, number>()
  for (const [name, member] of value.members) {
    if (member.kind !== 'number' || name === '__proto__' || name.length > LIMITS.stringChars) continue
    if (metrics.size < LIMITS.metricsMaxKeys) metrics.set(name, Number(member.text))
  }
  return Object.fromEntries(metrics)
}

interface Field {
  readonly name: string
  readonly optional?: boolean
}

/** The values of a struct's fields, in order: from an object, or from an array in that order. Unknown members are ignored. */
function fieldsOf(what: string, body: Json, fields: readonly Field[]): Json[] {
  if (body.kind === 'array') {
    if (body.items.length === fields.length) return [...body.items]
    throw new DataError(
      `invalid length ${body.items.length}, expected struct ${what} with ${fields.length} elements`,
    )
  }
  if (body.kind !== 'object') {
    throw new DataError(`invalid type: ${shownType(body)}, expected struct ${what}`)
  }
  const found = new Map<string, Json>()
  for (const [name, value] of body.members) {
    if (!fields.some((field) => field.name === name)) continue
    if (found.has(name)) throw new DataError(`duplicate field \`${name}\``)
    found.set(name, value)
  }
  return fields.map(({ name, optional }) => {
    const value = found.get(name)
    if (value === undefined && !optional) throw new DataError(`missing field \`${name}\``)
    return value ?? { kind: 'null' }
  })
}

const NULL: Json = { kind: 'null' }

/** @throws DataError */
export function readRegister(body: Json): RegisterBody {
  const names = ['instance_id', 'hostname', 'port', 'capabilities', 'agent_profiles']
  const [id = NULL, hostname = NULL, port = NULL, capabilities = NULL, profiles = NULL] = fieldsOf(
    'RegisterRequest',
    body,
    names.map((name) => ({ name })),
  )
  const read = {
    instanceId: readString('instance_id', id),
    hostname: readString('hostname', hostname),
    port: readPort('port', port),
    capabilities: readStrings('capabilities', capabilities),
    agentProfiles: readStrings('agent_profiles', profiles),
  }
  if (RESERVED_IDS.has(read.instanceId)) {
    throw new DataError(`instance_id: \`${read.instanceId}\` is a word of the paths; choose another`)
  }
  return read
}

/** @throws DataError */
export function readHeartbeat(body: Json): HeartbeatBody {
  const [status = NULL, metrics = NULL] = fieldsOf('HeartbeatRequest', body, [
    { name: 'status' },
    { name: 'metrics', optional: true },
  ])
  return { status: readString('status', status), metrics: readMetrics('metrics', metrics) }
}

/** @throws DataError */
export function readSend(body: Json): SendBody {
  const [target = NULL, type = NULL, payload = NULL, correlationId = NULL] = fieldsOf(
    'SendMessageRequest',
    body,
    [
      { name: 'target_instance', optional: true },
      { name: 'message_type' },
      { name: 'payload' },
      { name: 'correlation_id', optional: true },
    ],
  )
  return {
    target: readOptional('target_instance', target),
    type: readType('message_type', type),
    payload: writeJson(payload),
    correlationId: readOptional('correlation_id', correlationId),
  }
}

/** @throws DataError */
export function readAcknowledge(body: Json): readonly string[] {
  const [ids = NULL] = fieldsOf('AcknowledgeMessagesRequest', body, [{ name: 'message_ids' }])
  return readStrings('message_ids', ids)
}
