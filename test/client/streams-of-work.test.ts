import { expect, it, describe } from 'vitest'
import { connect, type AgentOptions, type Client } from '../../client/node.ts'
import { CORES, startMesh } from '../support/hubs.ts'
import { all } from '../support/reading.ts'

function join(
  hub: { readonly url: string },
  name: string,
  options: Partial<AgentOptions> = {},
): Promise<Client> {
  return connect({ url: hub.url, name, id: name, capabilities: ['llm'], ...options })
}

async function* words(text: string): AsyncGenerator<string, void> {
  for (const word of text.split(' ')) yield word
}

describe.each(CORES)('an answer by chunks, on %s', (core) => {
  it('comes from whichever agent of a work queue has room', async () => {
    await using mesh = await startMesh(core, 2)
    await using asker = await join(mesh.hub(0), 'asker', { capabilities: ['asking'] })
    await using one = await join(mesh.hub(0), 'one')
    await using two = await join(mesh.hub(1), 'two')
    const from: string[] = []
    for (const worker of [one, two]) {
      worker.onMessage('query', async function* ({ payload }) {
        from.push(worker.id ?? '')
        yield* words(String(payload))
      })
    }
    const asked = ['a b', 'c d', 'e f', 'g h'].map((text) =>
      all(asker.requestStream({ capability: 'llm' }, text)),
    )
    expect(await Promise.all(asked)).toEqual([
      ['a', 'b'],
      ['c', 'd'],
      ['e', 'f'],
      ['g', 'h'],
    ])
    expect(new Set(from)).toEqual(new Set(['one', 'two']))
  })

  it('passes through an agent that reads it from another one, one handler each, in both directions at once', async () => {
    await using mesh = await startMesh(core, 2)
    await using asker = await join(mesh.hub(0), 'asker', { capabilities: ['asking'] })
    const [left, right] = [await join(mesh.hub(0), 'left'), await join(mesh.hub(1), 'right')] as const
    const relay = (worker: Client, other: string): void => {
      worker.onMessage<{ text: string; hops: number }>(
        'query',
        async function* ({ payload: { text, hops } }) {
          if (hops === 0) yield* words(text)
          else yield* worker.requestStream(other, { text, hops: hops - 1 })
        },
      )
    }
    relay(left, 'right')
    relay(right, 'left')
    const asked = ['left', 'right'].map((id) =>
      all(asker.requestStream(id, { text: 'one two three', hops: 3 })),
    )
    expect(await Promise.all(asked)).toEqual([
      ['one', 'two', 'three'],
      ['one', 'two', 'three'],
    ])
    await Promise.all([left.close(), right.close()])
  })

  it('breaks off, and never looks whole, when the time of its handler is over', async () => {
    await using mesh = await startMesh(core, 2)
    await using asker = await join(mesh.hub(0), 'asker', { capabilities: ['asking'] })
    await using worker = await join(mesh.hub(1), 'worker', { redeliveryDelayMs: 60_000 })
    let aborted: unknown = null
    worker.onMessage(
      'query',
      async function* (_message, { signal }) {
        signal.addEventListener('abort', () => (aborted = signal.reason))
        yield 'first'
        await new Promise(() => undefined)
      },
      { timeoutMs: 200 },
    )
    const stream = asker.requestStream('worker', 'go on')
    expect(await stream.next()).toEqual({ done: false, value: 'first' })
    await expect(stream.next()).rejects.toMatchObject({ name: 'StreamError', code: 'timeout' })
    expect(aborted).toMatchObject({ name: 'TimeoutError' })
  })
})
