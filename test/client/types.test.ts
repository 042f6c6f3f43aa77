import { type } from 'arktype'
import * as v from 'valibot'
import { describe, expectTypeOf, it } from 'vitest'
import { z } from 'zod'
import { connect } from '../../client/node.ts'
import type {
  Client,
  Event,
  Exchange,
  Message,
  MeshError,
  ReceivedMessage,
  ReceivedStream,
  SendResult,
  StatusEvent,
  TrackedSend,
  TypedClient,
  WatchEvent,
} from '../../client/node.ts'

type Messages = {
  notification: string
  'job.done': { readonly id: string }
  translate: Exchange<{ text: string }, { translated: string }>
  query: Exchange<number, boolean>
}

interface Minimal {
  readonly 'job.done': { readonly id: string }
}

const OPTIONS = { url: 'ws://hub/mesh', name: 'tester', capabilities: ['nlp'] }

/** Compiled, not called: `npm run check:types` is what fails. */
const compiled = (_body: (...given: never[]) => unknown): void => undefined

describe('a client without a map', () => {
  it('takes any type and payload, and answers unknown unless told otherwise', () => {
    compiled(async (client: Client) => {
      expectTypeOf(connect(OPTIONS)).toEqualTypeOf<Promise<Client>>()
      expectTypeOf(client.send('a2', new Date(), { type: 'mine' })).toEqualTypeOf<Promise<SendResult>>()
      expectTypeOf(client.send('a2', 1, { receipt: true })).toEqualTypeOf<Promise<TrackedSend>>()
      expectTypeOf((await client.request('a2', 1)).payload).toEqualTypeOf<unknown>()
      expectTypeOf((await client.request<string>('a2', 1)).payload).toEqualTypeOf<string>()
      expectTypeOf(client.requestStream<string>('a2', 1)).toEqualTypeOf<ReceivedStream<string>>()
      client.onMessage((message) => expectTypeOf(message).toEqualTypeOf<ReceivedMessage>())
      client.onMessage<string>('mine', ({ payload }) => expectTypeOf(payload).toEqualTypeOf<string>())
      client.onWork<string>('nlp', ({ payload }) => expectTypeOf(payload).toEqualTypeOf<string>())
      client.onMessage('query', async function* ({ payload }, { request }) {
        yield payload
        expectTypeOf((await request<string>('a2', 1)).payload).toEqualTypeOf<string>()
      })
    })
  })

  it('is the class that `connect` answers, and passes where any client will do', () => {
    compiled(() => {
      const connecting: Promise<Client> = connect(OPTIONS)
      return connecting
    })
  })
})

describe('a client with a map of messages', () => {
  it('comes of connect<Messages>()', () => {
    compiled(() => {
      expectTypeOf(connect<Messages>(OPTIONS)).toEqualTypeOf<Promise<Client<Messages>>>()
      expectTypeOf<Client<Messages>>().toEqualTypeOf<TypedClient<Messages>>()
      expectTypeOf<TypedClient<Messages>['state']>().toEqualTypeOf<Client['state']>()
      expectTypeOf<TypedClient<Messages>['close']>().toEqualTypeOf<Client['close']>()
      expectTypeOf<TypedClient<Messages>>().toExtend<AsyncDisposable>()
    })
  })

  it('sends what the type of the message says', () => {
    compiled((client: Client<Messages>) => {
      expectTypeOf(client.send('a2', { id: '1' }, { type: 'job.done' })).toEqualTypeOf<Promise<SendResult>>()
      expectTypeOf(client.send('a2', { id: '1' }, { type: 'job.done', receipt: true })).toEqualTypeOf<
        Promise<TrackedSend>
      >()
      void client.send({ capability: 'nlp' }, { text: 'hello' }, { type: 'translate' })
      void client.send('a2', 'the default')
      void client.broadcast('the default', { to: { group: 'eu' } })
      void client.broadcast({ id: '1' }, { type: 'job.done' })
      // @ts-expect-error a payload of another type
      void client.send('a2', { text: 'hello' }, { type: 'job.done' })
      // @ts-expect-error a type that is not in the map
      void client.send('a2', 1, { type: 'job.begun' })
      // @ts-expect-error not the payload of a notification
      void client.send('a2', { id: '1' })
      // @ts-expect-error a payload of another type
      void client.broadcast(1, { type: 'job.done' })
    })
  })

  it('needs the type where the map has no default one', () => {
    compiled((client: Client<Minimal>) => {
      void client.send('a2', { id: '1' }, { type: 'job.done' })
      // @ts-expect-error no notification in the map
      void client.send('a2', { id: '1' })
      // @ts-expect-error no notification in the map
      void client.broadcast({ id: '1' })
      // @ts-expect-error no exchange in the map
      void client.request('a2', { id: '1' }, { type: 'job.done' })
      // @ts-expect-error no query in the map
      void client.request('a2', 1)
    })
  })

  it('asks by exchanges, whose reply it knows', () => {
    compiled(async (client: Client<Messages>) => {
      const reply = await client.request({ name: 'translator' }, { text: 'hello' }, { type: 'translate' })
      expectTypeOf(reply).toEqualTypeOf<Message<{ translated: string }>>()
      expectTypeOf((await client.request('a2', 4)).payload).toEqualTypeOf<boolean>()
      const chunks = client.requestStream('a2', { text: 'hello' }, { type: 'translate', window: 2 })
      for await (const chunk of chunks) expectTypeOf(chunk).toEqualTypeOf<{ translated: string }>()
      for await (const chunk of client.requestStream('a2', 4)) expectTypeOf(chunk).toEqualTypeOf<boolean>()
      // @ts-expect-error a message that nobody answers
      void client.request('a2', { id: '1' }, { type: 'job.done' })
      // @ts-expect-error not the payload of this question
      void client.request('a2', 4, { type: 'translate' })
      // @ts-expect-error not the payload of this question
      client.requestStream('a2', 'four')
    })
  })

  it('hands each handler its payload, and takes its reply', () => {
    compiled((client: Client<Messages>) => {
      client.onMessage('job.done', ({ payload, messageType }) => {
        expectTypeOf(payload).toEqualTypeOf<{ readonly id: string }>()
        expectTypeOf(messageType).toEqualTypeOf<'job.done'>()
        return 'nobody asked'
      })
      client.onMessage('translate', ({ payload }) => ({ translated: payload.text }), { timeoutMs: 5 })
      client.onMessage('translate', async ({ payload, reply }, { request }) => {
        await reply({ translated: payload.text })
        expectTypeOf((await request('a2', 4)).payload).toEqualTypeOf<boolean>()
        // @ts-expect-error not the payload of this question
        await request('a2', 'four')
        // @ts-expect-error not the reply to this question
        await reply('hello')
      })
      client.onMessage('translate', async function* ({ payload }) {
        for (const translated of payload.text) yield { translated }
      })
      client.onMessage('response', ({ payload }) => expectTypeOf(payload).toEqualTypeOf<unknown>())
      // @ts-expect-error not the reply to this question
      client.onMessage('translate', () => 'hello')
      // @ts-expect-error not the chunks of this answer
      client.onMessage('translate', async function* () {
        yield 'hello'
      })
      // @ts-expect-error a type that is not in the map
      client.onMessage('job.begun', () => undefined)
    })
  })

  it('tells messages without a type of their own apart by messageType', () => {
    compiled((client: Client<Messages>) => {
      client.onMessage((message) => {
        expectTypeOf(message.messageType).toEqualTypeOf<keyof Messages>()
        if (message.messageType === 'translate') return { translated: message.payload.text }
        if (message.messageType === 'query') return message.payload > 3
        if (message.messageType === 'job.done') expectTypeOf(message.payload.id).toEqualTypeOf<string>()
        return undefined
      })
      client.onWork('nlp', (message) => {
        if (message.messageType === 'translate') expectTypeOf(message.payload.text).toEqualTypeOf<string>()
      })
      client.onWork<'translate'>('nlp', ({ payload }) => ({ translated: payload.text }))
    })
  })
})

describe('a client with schemas', () => {
  const OF_ZOD = {
    seen: z.object({ at: z.string().transform((text) => new Date(text)) }),
    translate: { payload: z.object({ text: z.string() }), reply: z.object({ translated: z.string() }) },
  }
  const OF_VALIBOT = {
    seen: v.object({
      at: v.pipe(
        v.string(),
        v.transform((text) => new Date(text)),
      ),
    }),
    translate: { payload: v.object({ text: v.string() }), reply: v.object({ translated: v.string() }) },
  }
  const OF_ARKTYPE = {
    seen: type({ at: type('string').pipe((text) => new Date(text)) }),
    translate: { payload: type({ text: 'string' }), reply: type({ translated: 'string' }) },
  }

  it('has the types of those, of any library', () => {
    const ofZod = () => connect({ ...OPTIONS, schemas: OF_ZOD })
    const ofValibot = () => connect({ ...OPTIONS, schemas: OF_VALIBOT })
    const ofArktype = () => connect({ ...OPTIONS, schemas: OF_ARKTYPE })
    compiled(
      async (
        zod: Awaited<ReturnType<typeof ofZod>>,
        valibot: Awaited<ReturnType<typeof ofValibot>>,
        arktype: Awaited<ReturnType<typeof ofArktype>>,
      ) => {
        zod.onMessage('seen', ({ payload }) => expectTypeOf(payload).toEqualTypeOf<{ at: Date }>())
        valibot.onMessage('seen', ({ payload }) => expectTypeOf(payload).toEqualTypeOf<{ at: Date }>())
        arktype.onMessage('seen', ({ payload }) => expectTypeOf(payload).toEqualTypeOf<{ at: Date }>())
        for (const client of [zod, valibot, arktype]) {
          void client.send('a2', { at: '2026-11-21' }, { type: 'seen' })
          const { payload } = await client.request('a2', { text: 'hello' }, { type: 'translate' })
          expectTypeOf(payload).toEqualTypeOf<{ translated: string }>()
          // @ts-expect-error what is sent is the input of the schema
          void client.send('a2', { at: new Date() }, { type: 'seen' })
          // @ts-expect-error not the payload of this question
          void client.request('a2', { text: 5 }, { type: 'translate' })
        }
      },
    )
  })

  it('may have the types of a map all the same', () => {
    const connecting = () => connect<Messages>({ ...OPTIONS, schemas: OF_ZOD })
    expectTypeOf<ReturnType<typeof connecting>>().toEqualTypeOf<Promise<Client<Messages>>>()
  })

  it('takes schemas only', () => {
    // @ts-expect-error no schema
    compiled(() => connect({ ...OPTIONS, schemas: { seen: 'string' } }))
    // @ts-expect-error no schema for the reply
    compiled(() => connect({ ...OPTIONS, schemas: { seen: { payload: OF_ZOD.seen } } }))
  })
})

describe('streams of their own', () => {
  it('carry any chunk unless told otherwise', () => {
    compiled(async (client: Client<Messages>) => {
      const writer = await client.openStream<{ line: string }>('a2')
      await writer.write({ line: 'one' })
      // @ts-expect-error not a chunk of this stream
      await writer.write('one')
      client.onStream<{ line: string }>(async (stream) => {
        for await (const chunk of stream) expectTypeOf(chunk).toEqualTypeOf<{ line: string }>()
      })
      await (await client.openStream('a2')).write(5)
    })
  })
})

describe('events', () => {
  it('of the status are told apart by `type`', () => {
    compiled((event: StatusEvent) => {
      if (event.type === 'open') expectTypeOf(event.resumed).toEqualTypeOf<boolean>()
      if (event.type === 'waiting') {
        expectTypeOf(event.retryAt).toEqualTypeOf<number>()
        expectTypeOf(event.cause.code).toEqualTypeOf<number | null>()
      }
      if (event.type === 'closed') expectTypeOf(event.error).toEqualTypeOf<Error | null>()
      if (event.type === 'revoked') expectTypeOf(event.reason).toEqualTypeOf<string>()
      if (event.type === 'handler_failed') expectTypeOf(event.message).toEqualTypeOf<Message>()
      // @ts-expect-error not a type of an event
      if (event.type === 'opened') return
    })
  })

  it('of a watch are told apart by `event`', () => {
    compiled((event: WatchEvent) => {
      if (event.event === 'list') expectTypeOf(event.reason).toEqualTypeOf<'first' | 'reset' | 'behind'>()
      else expectTypeOf(event).toEqualTypeOf<Event>()
      if (event.event === 'agent.status_changed') expectTypeOf(event.new).toEqualTypeOf<string>()
      if (event.event === 'leader.changed') expectTypeOf(event.term).toEqualTypeOf<number>()
      if (event.event === 'message.dead_lettered') {
        expectTypeOf(event.messageId).toEqualTypeOf<string | null>()
      }
    })
  })
})

describe('an error', () => {
  it('says what to do', () => {
    compiled((error: MeshError) => {
      expectTypeOf(error.code).toExtend<string>()
      expectTypeOf(error.retryable).toEqualTypeOf<boolean>()
      expectTypeOf(error.remedy).toEqualTypeOf<string>()
    })
  })
})
