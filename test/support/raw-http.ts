import { once } from 'node:events'
import { connect } from 'node:net'
import type { HubServer } from '../../src/server.ts'

/** What came back over one TCP connection. */
export interface RawAnswer {
  /** Status of each answer, in order. */
  readonly statuses: readonly number[]
  readonly text: string
  /** Whether the hub ended the connection. */
  readonly closed: boolean
}

/** How long a test waits for any answer. */
const SILENCE_MS = 2_000

const statusesOf = (text: string): number[] =>
  [...text.matchAll(/HTTP\/1\.1 (\d{3}) /g)].map(([, status]) => Number(status))

/** Sends bytes over a connection of their own; resolves when the hub ends it, or has answered and says nothing more for `quietMs`. */
export async function sendRaw(
  { port }: Pick<HubServer, 'port'>,
  bytes: string | Uint8Array,
  quietMs = 40,
): Promise<RawAnswer> {
  const socket = connect(port, '127.0.0.1')
  socket.on('error', () => undefined)
  await once(socket, 'connect')
  let text = ''
  let closed = false
  await new Promise<void>((resolve) => {
    let quiet = setTimeout(resolve, SILENCE_MS)
    socket.on('data', (data: Buffer) => {
      text += data.toString('latin1')
      clearTimeout(quiet)
      quiet = setTimeout(resolve, quietMs)
    })
    socket.on('close', () => {
      closed = true
      clearTimeout(quiet)
      resolve()
    })
    socket.write(bytes)
  })
  socket.destroy()
  return { statuses: statusesOf(text), text, closed }
}
