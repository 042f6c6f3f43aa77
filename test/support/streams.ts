import type { StreamChunked } from '../../protocol/pushes.ts'
import type { TestAgent, TestSocket } from './agent.ts'
import { endOf } from './end-of.ts'
import { join, seen, startSpan } from './talk.ts'

/** A mesh with a sender, alice, and a receiver, bob, at its far end. */
export async function startTalk(...span: Parameters<typeof startSpan>) {
  const mesh = await startSpan(...span)
  const alice = await join(mesh.near, 'alice')
  const bob = await join(mesh.far, 'bob')
  await seen(mesh.near, 'bob', ({ connected }) => connected)
  return { mesh, alice, bob, ...endOf(alice, bob, mesh) }
}

/** A stream between two raw agents: its id for each of them. */
export interface RawStream {
  readonly sent: string
  readonly received: string
}

/** Opens a stream as `id`; resolves when both sides know. */
export async function openStream(from: TestAgent, to: TestAgent, id: string): Promise<RawStream> {
  const [opened] = await Promise.all([
    to.next('stream.open', (frame) => frame.from === from.id && frame.correlationId === id),
    from.request({ type: 'stream.open', stream: id, to: { agent: to.id }, correlationId: id }),
  ])
  return { sent: id, received: opened.stream }
}

/** Grants a little credit, and resolves when all of it has reached the sender. More than 4 at first comes in parts. */
export async function grant(
  from: TestSocket,
  to: TestSocket,
  stream: RawStream,
  credit: number,
): Promise<void> {
  to.send({ type: 'stream.credit', stream: stream.received, credit })
  let left = credit
  while (left > 0) left -= await credited(from, stream.sent)
}

/** The next credit that the sender gets. */
export async function credited(from: TestSocket, stream: string): Promise<number> {
  return (await from.next('stream.credit', (frame) => frame.stream === stream)).credit
}

/** Sends chunks as credit comes. */
export async function pour(
  from: TestSocket,
  stream: string,
  first: number,
  payloads: readonly unknown[],
): Promise<void> {
  for (let at = 0; at < payloads.length;) {
    const credit = await credited(from, stream)
    sendChunks(from, stream, first + at, payloads.slice(at, at + credit))
    at += credit
  }
}

export const chunkFrame = (stream: string, seq: number, payload: unknown): object => ({
  type: 'stream.chunk',
  stream,
  seq,
  payload,
})

/** Sends chunks in one WebSocket message. */
export function sendChunks(
  from: TestSocket,
  stream: string,
  first: number,
  payloads: readonly unknown[],
): void {
  from.raw(payloads.map((payload, i) => JSON.stringify(chunkFrame(stream, first + i, payload))).join('\n'))
}

/** Sends the same chunk again and again until the hub takes no more of it; answers how many. */
export async function fill(from: TestSocket, stream: string, payload: unknown): Promise<number> {
  let sent = 0
  for (;;) {
    // What the kernels take is not known beforehand: no credit for so long means that there is no room.
    const credit = await from
      .next('stream.credit', (frame) => frame.stream === stream, 500)
      .then(
        (frame) => frame.credit,
        () => 0,
      )
    if (credit === 0) return sent
    for (let i = 0; i < credit; i++) from.send(chunkFrame(stream, sent++, payload))
  }
}

/** The next `count` chunks of a stream. */
export async function chunks(to: TestSocket, stream: string, count: number): Promise<StreamChunked[]> {
  const got: StreamChunked[] = []
  while (got.length < count) got.push(await to.next('stream.chunk', (frame) => frame.stream === stream))
  return got
}

/** The payloads of the next `count` chunks. */
export async function payloads(to: TestSocket, stream: string, count: number): Promise<unknown[]> {
  return (await chunks(to, stream, count)).map(({ payload }) => payload)
}
