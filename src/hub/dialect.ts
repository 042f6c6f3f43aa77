import {
  type AgentFields,
  mergeRegistration,
  type Registration,
  toRegistration,
} from '../../protocol/agent.ts'
import type { CloseReason } from '../../protocol/close-codes.ts'
import { type Frames, Lines } from './backlog.ts'
import type { Connection } from './connection.ts'

export type Frame = Record<string, unknown>

/**
 * How one connection's client speaks. Whatever it is, the hub works on commands and answers with frames; another protocol than the hub's own is
 * translated here, where messages are read and written, so that it shares all that lies behind.
 */
export interface Dialect {
  /** What one WebSocket message holds, each to be worked on in its turn; or why the connection has to be closed for it. */
  read(data: Buffer, isBinary: boolean): Frames | CloseReason
  /**
   * What the turn of something that was read has come to is to be done: commands. A command that is put back comes here again, and is itself. Absent:
   * what is read is commands.
   */
  commands?(frame: Frame): readonly Frame[]
  /** A frame of the hub as complete WebSocket frames, of the text as it is stored. Absent: it goes out as it is, joined with others. */
  write?(text: string): readonly Buffer[]
  /** The agent that a `hello` tells of. @throws MeshError */
  register(agent: AgentFields): Registration
  /** What an `update` makes of a registration. @throws MeshError */
  merge(registration: Registration, fields: AgentFields): Registration
  /** The connection has ended. */
  close?(): void
}

/** Makes the dialect of a new connection, which is not to be used yet. */
export type Speak = (connection: Connection) => Dialect

const MESHWIRE: Dialect = {
  read(data, isBinary) {
    return isBinary ? 'unsupported_data' : new Lines(data.toString())
  },
  register: (agent) => toRegistration(agent, 'websocket'),
  merge: mergeRegistration,
}

/** The hub's own protocol: frames of JSON as text. */
export const speakMeshwire: Speak = () => MESHWIRE
