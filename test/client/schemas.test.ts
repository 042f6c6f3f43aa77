import { type } from 'arktype'
import * as v from 'valibot'
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest'
import { z } from 'zod'
import { connect, MeshError } from '../../client/node.ts'
import type { Client, SchemaIssue, Schemas, StatusEvent } from '../../client/node.ts'
import { startTestHub } from '../support/hubs.ts'
import { messageFrame, startScriptedHub } from '../support/scripted-hub.ts'

/** The same rules by three libraries: `seen` trims, which is a transformation. */
const LIBRARIES: readonly (readonly [string, Schemas])[] = [
  [
    'zod',
    {
      seen: z.object({ text: z.string().trim().min(1) }),
      translate: { payload: z.object({ text: z.string() }), reply: z.object({ translated: z.string() }) },
    },
  ],
  [
    'valibot',
    {
      seen: v.object({ text: v.pipe(v.string(), v.trim(), v.minLength(1)) }),
      translate: { payload: v.object({ text: v.string() }), reply: v.object({ translated: v.string() }) },
    },
  ],
  [
    'arktype',
    {
      seen: type({ text: type('string.trim').to('string > 0') }),
      translate: { payload: type({ text: 'string' }), reply: type({ translated: 'string' }) },
    },
  ],
]

const failureOf = async (promise: Promise<unknown>): Promise<MeshError> => {
  const error: unknown = await promise.then(
    () => 'no failure',
    (thrown: unknown) => thrown,
  )
  expect(error).toBeInstanceOf(MeshError)
  return error as MeshError
}

/** The first event of a kind; begin to wait before it can come. */
async function told<Type extends StatusEvent['type']>(
  client: Client,
  kind: Type,
): Promise<Extract<StatusEvent, { type: Type }>> {
  for await (const event of client.status()) {
    if (event.type === kind) return event as Extract<StatusEvent, { type: Type }>
  }
  throw new Error(`no ${kind}`)
}

const turn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve))

beforeEach(() => void vi.spyOn(Math, 'random').mockReturnValue(0))
afterEach(() => void vi.restoreAllMocks())

describe.each(LIBRARIES)('schemas of %s', (_library, schemas) => {
  it('refuse what is sent against them, with the issues, and write nothing', async () => {
    await using hub = await startScriptedHub()
    const [client, socket] = await hub.join({ schemas })
    const failed = told(client, 'send_failed')
    for (const sent of [
      client.send('a2', { text: 5 }, { type: 'seen' }),
      client.broadcast({}, { type: 'seen' }),
      client.request('a2', 'text', { type: 'translate' }),
    ]) {
      const error = await failureOf(sent)
      expect(error).toMatchObject({ code: 'bad_frame', retryable: false })
      expect(error.message).toMatch(/^the payload of "(seen|translate)" is invalid: \S/)
      const issues = error.details as readonly SchemaIssue[]
      expect(issues[0]?.message).toEqual(expect.any(String))
    }
    expect((await failed).error.message).toMatch(/"seen" is invalid: (?:text: )?\S/)
    await failureOf(client.requestStream('a2', 'text', { type: 'translate' }).next())
    await socket.settled()
    expect(socket.unread.filter(({ type: kind }) => kind === 'send')).toEqual([])
  })

  it('leave what they do not name alone, and what they transform as it is on the way out', async () => {
    await using hub = await startScriptedHub()
    const [client, socket] = await hub.join({ schemas })
    void client.send('a2', 5)
    void client.send('a2', { text: ' hello ' }, { type: 'seen' })
    expect(await socket.next('send')).toMatchObject({ payload: 5 })
    expect(await socket.next('send')).toMatchObject({ payload: { text: ' hello ' } })
  })

  it('show a handler what they make of the payload', async () => {
    await using hub = await startScriptedHub()
    const [client, socket] = await hub.join({ schemas })
    const got = new Promise((resolve) => client.onMessage('seen', ({ payload }) => resolve(payload)))
    socket.send(messageFrame('m1', { messageType: 'seen', payload: { text: ' hello ' } }))
    expect(await got).toEqual({ text: 'hello' })
    expect(await socket.next('ack')).toEqual({ type: 'ack', ids: ['m1'] })
  })

  it('keep from every handler what does not fit, give it up with the first issue, and tell it', async () => {
    await using hub = await startScriptedHub()
    const [client, socket] = await hub.join({ schemas })
    const handler = vi.fn<() => void>()
    client.onMessage(handler)
    client.onWork('nlp', handler)
    const work = { via: 'queue', capability: 'nlp' }
    for (const fields of [{}, work]) {
      const failed = told(client, 'invalid_payload')
      const payload = { text: 5 }
      const id = `m-${Object.keys(fields).length}`
      socket.send(messageFrame(id, { messageType: 'seen', payload, ...fields }))
      const nack = await socket.next('nack')
      expect(nack).toMatchObject({ id, requeue: false })
      expect(nack['reason']).toMatch(/^the payload of "seen" is invalid: .*text/)
      const event = await failed
      expect(event.message).toMatchObject({ id, payload })
      expect(event.issues[0]?.message).toEqual(expect.any(String))
    }
    expect(handler).not.toHaveBeenCalled()
  })

  it('judge replies at both ends', async () => {
    await using hub = await startTestHub('memory')
    const join = (name: string, options: { schemas?: Schemas } = {}): Promise<Client> =>
      connect({ url: hub.url, name, id: name, capabilities: ['nlp'], closeTimeoutMs: 50, ...options })
    await using strict = await join('strict', { schemas })
    await using lax = await join('lax')
    lax.onMessage('translate', ({ payload }) => payload)
    const ask = { type: 'translate', timeoutMs: 300 } as const
    const error = await failureOf(strict.request('lax', { text: 'hello' }, ask))
    expect(error).toMatchObject({ code: 'bad_frame', name: 'MeshError' })
    expect((error.details as readonly SchemaIssue[])[0]?.message).toEqual(expect.any(String))
    expect(error.message).toMatch(/^the reply of "translate" is invalid: \S/)
    expect(await failureOf(strict.requestStream('lax', { text: 'hello' }, ask).next())).toMatchObject({
      code: 'bad_frame',
    })

    const byHand: Promise<MeshError>[] = []
    strict.onMessage('translate', ({ payload, reply }) => {
      byHand.push(failureOf(reply('by hand')))
      return { translated: (payload as { text: string }).text }
    })
    const failed = told(strict, 'handler_failed')
    strict.onWork('nlp', () => 'returned')
    await failureOf(lax.request({ capability: 'nlp' }, { text: 'hello' }, ask))
    expect((await failed).error).toMatchObject({ code: 'bad_frame' })
    await failureOf(lax.request('strict', { text: 'hello' }, ask))
    expect(await byHand[0]).toMatchObject({ code: 'bad_frame' })
  })

  it('judge each chunk of a streamed answer at both ends', async () => {
    await using hub = await startTestHub('memory')
    const join = (name: string, options: { schemas?: Schemas } = {}): Promise<Client> =>
      connect({ url: hub.url, name, id: name, capabilities: ['nlp'], closeTimeoutMs: 50, ...options })
    await using strict = await join('strict', { schemas })
    await using lax = await join('lax')
    let left = 0
    for (const client of [strict, lax]) {
      client.onMessage('translate', async function* () {
        try {
          yield { translated: 'one' }
          yield 'two'
          yield 'three'
        } finally {
          left++
        }
      })
    }
    const ask = { type: 'translate' } as const
    const got: unknown[] = []
    const read = async (client: Client, from: string): Promise<void> => {
      for await (const chunk of client.requestStream(from, { text: 'hello' }, ask)) got.push(chunk)
    }
    expect(await failureOf(read(strict, 'lax'))).toMatchObject({ name: 'MeshError', code: 'bad_frame' })
    expect(await failureOf(read(lax, 'strict'))).toMatchObject({ name: 'StreamError', code: 'bad_frame' })
    expect(got).toEqual([{ translated: 'one' }, { translated: 'one' }])
    await vi.waitFor(() => expect(left).toBe(2))
  })
})

describe('a stream whose chunks are checked', () => {
  it('carries what was yielded, and is read as the schema makes it', async () => {
    await using hub = await startTestHub('memory')
    const schemas = { say: { payload: z.null(), reply: z.string().trim() } }
    const join = (name: string, options: { schemas?: Schemas } = {}): Promise<Client> =>
      connect({ url: hub.url, name, id: name, capabilities: ['nlp'], closeTimeoutMs: 50, ...options })
    await using strict = await join('strict', { schemas })
    await using lax = await join('lax')
    for (const client of [strict, lax]) {
      client.onMessage('say', async function* () {
        yield ' one '
      })
    }
    const read = async (client: Client, from: string): Promise<unknown> =>
      (await client.requestStream(from, null, { type: 'say' }).next()).value
    expect(await read(lax, 'strict')).toBe(' one ')
    expect(await read(strict, 'lax')).toBe('one')
  })

  it('is cancelled by the reader at the first one that does not fit, and is over', async () => {
    await using hub = await startScriptedHub()
    const schemas = { say: { payload: z.null(), reply: z.string() } }
    const [client, socket] = await hub.join({ schemas })
    const stream = client.requestStream('a2', null, { type: 'say' })
    const { correlationId } = await socket.next('send')
    socket.send({ type: 'stream.open', stream: 's1', from: 'a2', correlationId })
    for (const [seq, payload] of [5, 'one'].entries()) {
      socket.send({ type: 'stream.chunk', stream: 's1', seq, payload })
    }
    expect(await failureOf(stream.next())).toMatchObject({ code: 'bad_frame' })
    expect(await socket.next('stream.cancel')).toMatchObject({ stream: 's1' })
    expect(await stream.next()).toMatchObject({ done: true })
  })
})

/** A schema that answers when the test says so. */
function slowly() {
  const waiting: ((ok: boolean) => void)[] = []
  const validate = (value: unknown) =>
    new Promise<{ value: unknown } | { issues: SchemaIssue[] }>((resolve) => {
      waiting.push((ok) => resolve(ok ? { value } : { issues: [{ message: 'no', path: ['a', { key: 0 }] }] }))
    })
  return { schema: { '~standard': { version: 1, vendor: 'test', validate } } as const, waiting }
}

describe('a schema that takes its time', () => {
  it('keeps the order of sends, and one that it refuses holds none up', async () => {
    await using hub = await startScriptedHub()
    const { schema, waiting } = slowly()
    const [client, socket] = await hub.join({ schemas: { slow: schema } })
    const sent = [1, 2, 3].map((n) => client.send('a2', n, n === 3 ? {} : { type: 'slow' }))
    waiting[1]?.(true)
    await turn()
    expect(socket.unread).toEqual([])
    waiting[0]?.(false)
    expect((await failureOf(sent[0] as Promise<unknown>)).message).toBe(
      'the payload of "slow" is invalid: a.0: no',
    )
    expect(await socket.next('send')).toMatchObject({ payload: 2, seq: 1 })
    expect(await socket.next('send')).toMatchObject({ payload: 3, seq: 2 })
    void client.send('a2', 4)
    expect(await socket.next('send')).toMatchObject({ payload: 4, seq: 3 })
  })

  it('sends the payload as it was when `send` was called', async () => {
    await using hub = await startScriptedHub()
    const { schema, waiting } = slowly()
    const [client, socket] = await hub.join({ schemas: { slow: schema } })
    const payload = { n: 1 }
    void client.send('a2', payload, { type: 'slow' })
    payload.n = 2
    waiting[0]?.(true)
    expect(await socket.next('send')).toMatchObject({ payload: { n: 1 } })
  })

  it('is waited for by close(), and what it lets pass too late is rejected', async () => {
    await using hub = await startScriptedHub()
    const { schema, waiting } = slowly()
    const [client, socket] = await hub.join({ schemas: { slow: schema }, closeTimeoutMs: 200 })
    const sent = client.send('a2', 1, { type: 'slow' })
    const late = client.send('a2', 2, { type: 'slow' })
    const closing = client.close()
    for (let n = 0; n < 10; n++) await turn()
    expect(socket.unread).toEqual([])
    waiting[0]?.(true)
    socket.ok(await socket.next('send'), { id: 'm1', recipients: 1 })
    expect(await sent).toEqual({ id: 'm1', recipients: 1 })
    await closing
    waiting[1]?.(true)
    expect(await failureOf(late)).toMatchObject({ code: 'closed' })
  })

  it('keeps the order of one sender', async () => {
    await using hub = await startScriptedHub()
    const { schema, waiting } = slowly()
    const [client, socket] = await hub.join({ schemas: { slow: schema }, concurrency: 5 })
    const seen: string[] = []
    client.onMessage(({ id }) => void seen.push(id))
    socket.send(messageFrame('m1', { messageType: 'slow' }), messageFrame('m2'))
    await socket.settled()
    expect(seen).toEqual([])
    waiting[0]?.(true)
    await socket.next('ack')
    expect(seen).toEqual(['m1', 'm2'])
  })
})

describe('a schema that throws', () => {
  const bare: unknown = Object.create(null)
  const throwing = (validate: () => never | Promise<never>) =>
    ({ '~standard': { version: 1, vendor: 'test', validate } }) as const
  const thrown = (): never => {
    throw bare
  }

  it.each([
    ['at once', throwing(thrown)],
    ['later', throwing(async () => thrown())],
  ])('%s rejects a send, and gives a message back', async (_when, schema) => {
    await using hub = await startScriptedHub()
    const [client, socket] = await hub.join({ schemas: { odd: schema } })
    const error = await failureOf(client.send('a2', 1, { type: 'odd' }))
    expect(error).toMatchObject({ code: 'bad_frame', cause: bare })
    expect(error.message).toBe(
      'the schema for the payload of "odd" failed: something without a text was thrown',
    )
    const failed = told(client, 'handler_failed')
    client.onMessage(() => undefined)
    socket.send(messageFrame('m1', { messageType: 'odd' }))
    expect(await socket.next('nack')).toMatchObject({ id: 'm1', requeue: true })
    expect(await failed).toMatchObject({ error: { code: 'bad_frame' } })
  })
})
