import fc from 'fast-check'
import { afterEach, describe, expect, it, vi } from 'vitest'
import { WebSocket } from 'ws'
import { connect } from '../../client/node.ts'
import { decode, encode, MXP_TYPES, type MxpType } from '../../src/mxp/index.ts'
import type { HubServer } from '../../src/server.ts'
import { connectAgent, openSocket, type TestAgent } from '../support/agent.ts'
import { connectMxp, MxpSocket } from '../support/mxp-agent.ts'
import { freshId, message, MxpUdp } from '../support/mxp-udp.ts'
import { sendRaw } from '../support/raw-http.ts'
import { MeshClient } from '../support/spec-ai.ts'
import { startWatched } from '../support/watched.ts'

/** In recordings, the id of who speaks: each run has one of its own. */
const SELF = 'recorded'
/** Every code a hub may close with. */
const CODES = [1000, 1002, 1003, 1007, 1009, 4000, 4002, 4003, 4008, 4009, 4400, 4401, 4408, 4409]

afterEach(() => {
  vi.restoreAllMocks()
})

/** What the clients of this process send over WebSockets while `talk` goes on: text frames as text, binary ones as bytes. */
async function recordSocket(talk: () => Promise<void>): Promise<(string | Uint8Array)[]> {
  const recorded: (string | Uint8Array)[] = []
  // eslint-disable-next-line @typescript-eslint/unbound-method
  const { send } = WebSocket.prototype
  vi.spyOn(WebSocket.prototype, 'send').mockImplementation(function (this: WebSocket, ...args: unknown[]) {
    const [data] = args
    const isClient = !(this as unknown as { _isServer: boolean })._isServer
    if (isClient) recorded.push(typeof data === 'string' ? data : new Uint8Array(data as Uint8Array))
    Reflect.apply(send, this, args)
  })
  await talk()
  vi.restoreAllMocks()
  return recorded
}

type Edit =
  | { readonly kind: 'byte' | 'insert' | 'cut' | 'repeat'; readonly at: number; readonly byte: number }
  | { readonly kind: 'drop' | 'twice' | 'swap' | 'late'; readonly at: number }
  | {
      readonly kind: 'value' | 'without' | 'rename'
      readonly at: number
      readonly field: number
      readonly value: unknown
    }

const VALUES: readonly unknown[] = [
  null,
  true,
  0,
  -1,
  1.5,
  2 ** 53,
  1e308,
  '',
  'x',
  '\u0000',
  '\ud800',
  'y'.repeat(5_000),
  [],
  {},
  [[]],
]
const at = fc.nat({ max: 100_000 })
const edits: fc.Arbitrary<Edit> = fc.oneof(
  fc.record({ kind: fc.constantFrom('byte', 'insert', 'cut', 'repeat'), at, byte: fc.nat({ max: 255 }) }),
  fc.record({ kind: fc.constantFrom('drop', 'twice', 'swap', 'late'), at }),
  fc.record({
    kind: fc.constantFrom('value', 'without', 'rename'),
    at,
    field: fc.nat({ max: 1_000 }),
    value: fc.oneof(fc.constantFrom(...VALUES), fc.jsonValue({ maxDepth: 2 })),
  }),
)

/** Every place in a JSON value where a member is. */
function placesOf(value: unknown, places: [object, string][] = []): [object, string][] {
  if (typeof value !== 'object' || value === null) return places
  for (const [key, inner] of Object.entries(value)) {
    places.push([value, key])
    placesOf(inner, places)
  }
  return places
}

function editJson(text: string, edit: Extract<Edit, { field: number }>): string {
  let whole: unknown
  try {
    whole = JSON.parse(text)
  } catch {
    return text
  }
  const places = placesOf(whole)
  const [holder, key] = places[edit.field % Math.max(1, places.length)] ?? []
  if (holder === undefined || key === undefined) return text
  const members = holder as Record<string, unknown>
  const before = members[key]
  if (edit.kind === 'value') members[key] = edit.value
  else delete members[key]
  if (edit.kind !== 'rename') return JSON.stringify(whole)
  // Not by assignment, which would set the prototype.
  Object.defineProperty(members, '__proto__', {
    value: before,
    enumerable: true,
    configurable: true,
    writable: true,
  })
  return JSON.stringify(whole)
}

function editBytes(
  bytes: Uint8Array,
  { kind, at: where, byte }: Extract<Edit, { byte: number }>,
): Uint8Array {
  const index = where % Math.max(1, bytes.length)
  const [head, tail] = [bytes.slice(0, index), bytes.slice(index)]
  if (kind === 'byte') return Buffer.concat([head, Buffer.of(byte), tail.slice(1)])
  if (kind === 'insert') return Buffer.concat([head, Buffer.of(byte), tail])
  return kind === 'cut' ? head : Buffer.concat([head, tail.slice(0, 20), tail])
}

/** A conversation with changes in it. `inJson`: how a change of a field is done to one of its parts. */
function mutate<Part>(
  script: readonly Part[],
  changes: readonly Edit[],
  inBytes: (part: Part, edit: Extract<Edit, { byte: number }>) => Part,
  inJson: (part: Part, edit: Extract<Edit, { field: number }>) => Part,
): Part[] {
  const parts = [...script]
  for (const edit of changes) {
    const index = edit.at % Math.max(1, parts.length)
    const part = parts[index]
    if (part === undefined) continue
    if ('byte' in edit) parts[index] = inBytes(part, { ...edit, at: Math.floor(edit.at / parts.length) })
    else if ('field' in edit) parts[index] = inJson(part, edit)
    else if (edit.kind === 'drop') parts.splice(index, 1)
    else if (edit.kind === 'twice') parts.splice(index, 0, part)
    else if (edit.kind === 'swap') parts.splice(index, 2, ...parts.slice(index, index + 2).toReversed())
    else parts.push(...parts.splice(index, 1))
  }
  return parts
}

const textBytes = (text: string, edit: Extract<Edit, { byte: number }>): string =>
  Buffer.from(editBytes(Buffer.from(text), edit)).toString()
const changes = fc.array(edits, { minLength: 1, maxLength: 4 })

/** Whoever is on the hub besides: each gets what it sends itself. */
async function checkUndisturbed(bystander: TestAgent): Promise<void> {
  await bystander.request({ type: 'send', to: { agent: bystander.id }, messageType: 'query', payload: 1 })
  const { id } = await bystander.next('message')
  await bystander.roundTrip()
  bystander.send({ type: 'ack', ids: [id] })
  expect(bystander.waiting).toEqual([])
}

const stage = async () => {
  const { hub, faults } = await startWatched({ graceMs: 0 })
  const bystander = await connectAgent(hub, { id: 'bystander', namespace: 'quiet' })
  return { hub, faults, bystander, [Symbol.asyncDispose]: () => hub.close() }
}

const TIMEOUT = 30_000

describe('a conversation that really took place, with changes in it, ends as one with a wrong peer', () => {
  async function clientTalk(hub: HubServer): Promise<void> {
    const options = {
      url: hub.url,
      name: `${SELF}-name`,
      id: SELF,
      capabilities: ['nlp'],
      concurrency: 4,
      version: '1.2.3',
    }
    const client = await connect(options)
    client.onMessage(async ({ payload }) => ({ echoed: payload }))
    client.onWork('nlp', async ({ payload }) => payload)
    await client.send(SELF, { hello: 'me', nested: [1, { two: 2 }] })
    await client.request(SELF, 'a question', { timeoutMs: 2_000 })
    await client.send({ capability: 'nlp' }, 'work')
    await client.discover({ capabilities: { all: ['nlp'] }, version: '^1' })
    await client.update({ metadata: { k: 'v' } })
    const watch = client.watch({ status: ['online'] })
    for await (const _one of watch) break
    await client.close()
  }

  it('over the mesh’s own protocol', { timeout: TIMEOUT }, async () => {
    await using set = await stage()
    const recorded = (await recordSocket(() => clientTalk(set.hub))) as string[]
    const script = recorded.flatMap((text) => text.split('\n')).filter((line) => !line.includes('"bye"'))
    expect(script.length).toBeGreaterThan(8)
    let run = 0
    await fc.assert(
      fc.asyncProperty(changes, fc.boolean(), async (change, joined) => {
        run += 1
        const own = script.map((line) => line.replaceAll(SELF, `${SELF}${run}`))
        const lines = mutate(own, change, textBytes, editJson)
        await using socket = await openSocket(set.hub)
        for (const text of joined ? [lines.join('\n')] : lines) socket.raw(text)
        socket.raw('{"type":"leader","ref":"the end"}')
        const answered = socket
          .nextWhere((frame) => 'ref' in frame && frame.ref === 'the end', 'the end')
          .catch(() => socket.closed)
        const end = await Promise.race([answered, socket.closed])
        if ('code' in end) expect(CODES).toContain(end.code)
        for (const frame of socket.waitingOf('error')) expect(frame.error.code).not.toBe('internal')
      }),
      { numRuns: 150 },
    )
    await checkUndisturbed(set.bystander)
    expect(set.faults).toEqual([])
  })

  it('over MXP by WebSocket', { timeout: TIMEOUT }, async () => {
    await using set = await stage()
    const script = (await recordSocket(async () => {
      await using peer = await connectMxp(set.hub, { id: 'peer' })
      await using agent = await connectMxp(set.hub, { id: SELF, metadata: { version: '1.0.0' } })
      agent.send('Call', { to: { agent: 'peer' }, payload: { q: 1 } }, { flags: 4 })
      peer.respond(await peer.nextWhere(({ type }) => type === 'Call', 'Call'), 'answer')
      agent.ack(
        await agent.nextWhere(
          ({ type, body }) => type === 'Response' && body.payload === 'answer',
          'Response',
        ),
      )
      agent.send('Event', { to: { all: true }, payload: 'all' })
      agent.send('StreamOpen', { stream: 's1', to: { agent: 'peer' } }, { flags: 4 })
      agent.send('StreamChunk', { stream: 's1', payload: 'x' })
      agent.send('StreamClose', { stream: 's1' })
      await agent.ask('AgentDiscover', { capability: 'nlp' })
      await agent.roundTrip(SELF)
    })) as Uint8Array[]
    expect(script.length).toBeGreaterThan(8)
    let run = 0
    const inPayload = (bytes: Uint8Array, change: (text: string) => string): Uint8Array => {
      try {
        const one = decode(bytes)
        return encode({ ...one, payload: Buffer.from(change(Buffer.from(one.payload).toString())) })
      } catch {
        return bytes
      }
    }
    await fc.assert(
      fc.asyncProperty(changes, fc.boolean(), async (change, checked) => {
        run += 1
        const own = script.map((bytes) => inPayload(bytes, (text) => text.replaceAll(SELF, `${SELF}${run}`)))
        const parts = mutate(
          own,
          change,
          // With a checksum that is right, so that what is wrong is looked at; or as line noise.
          (part, edit) =>
            checked ? inPayload(part, (text) => textBytes(text, edit)) : editBytes(part, edit),
          (part, edit) => inPayload(part, (text) => editJson(text, edit)),
        )
        await using socket = await MxpSocket.open(set.hub)
        for (const part of parts) socket.raw(part)
        const last = socket.send('AgentHeartbeat', { agent_id: `${SELF}${run}` })
        const answered = socket.answerTo(last).catch(() => socket.closed)
        const end = await Promise.race([answered, socket.closed])
        if ('code' in end) expect(CODES).toContain(end.code)
        for (const { type, body } of socket.waiting)
          if (type === 'Error') expect(body.code).not.toBe('INTERNAL')
      }),
      { numRuns: 120 },
    )
    await checkUndisturbed(set.bystander)
    expect(set.faults).toEqual([])
  })

  it('over MXP by UDP', { timeout: TIMEOUT }, async () => {
    await using set = await stage()
    await using udp = await MxpUdp.open(set.hub)
    const script = (
      [
        [
          'AgentRegister',
          {
            id: SELF,
            name: SELF,
            capabilities: ['code.review'],
            address: '127.0.0.1:1',
            metadata: { version: '1.0.0', tags: '["a"]' },
          },
        ],
        ['AgentHeartbeat', { agent_id: SELF }],
        ['AgentDiscover', { capability: 'code.review', offset: 0 }],
        ['AgentRegister', { agent_id: SELF, endpoint: '127.0.0.1:1', capabilities: [] }],
      ] as const
    ).map(([type, payload]) => message(type, payload))
    // Each is one that is answered, before it is changed.
    for (const one of script) {
      udp.send(one)
      expect(['Response', 'Ack', 'Error']).toContain((await udp.next()).type)
    }
    const types = Object.keys(MXP_TYPES) as MxpType[]
    await fc.assert(
      fc.asyncProperty(changes, fc.constantFrom(...types), fc.boolean(), async (change, type, retyped) => {
        const parts = mutate(
          script,
          change,
          (part, edit) => ({ ...part, payload: editBytes(part.payload, edit) }),
          (part, edit) => ({
            ...part,
            payload: Buffer.from(editJson(Buffer.from(part.payload).toString(), edit)),
          }),
        )
        for (const part of parts) udp.send(retyped ? { ...part, type } : part)
        for (const part of parts.slice(0, 2)) {
          const edit = change.find((one) => 'byte' in one)
          if (edit && 'byte' in edit) udp.raw(editBytes(encode(part), edit))
        }
        const last = message('AgentDiscover', { capability: 'nlp' }, { messageId: freshId() })
        udp.send(last)
        let answer = await udp.next()
        while (answer.messageId !== last.messageId) answer = await udp.next()
        expect(answer.type).toBe('Response')
      }),
      { numRuns: 150 },
    )
    await checkUndisturbed(set.bystander)
    expect(set.faults).toEqual([])
  })

  it('over spec-ai’s HTTP, also where it is no HTTP any more', { timeout: TIMEOUT }, async () => {
    await using set = await stage()
    const script: { head: string; body: string }[] = []
    const real = globalThis.fetch
    vi.spyOn(globalThis, 'fetch').mockImplementation(async (input, init = {}) => {
      const body = typeof init.body === 'string' ? init.body : ''
      const { pathname } = new URL(input)
      const type = body === '' ? '' : 'Content-Type: application/json\r\n'
      script.push({ head: `${init.method} ${pathname} HTTP/1.1\r\nHost: localhost\r\n${type}`, body })
      return real(input, init)
    })
    const client = new MeshClient(set.hub)
    await client.register(SELF)
    await client.beat(SELF, { status: 'healthy', metrics: { load: 0.5 } })
    await client.send(SELF, SELF, { q: '2+2' }, { message_type: { Custom: 'lunch' }, correlation_id: 'c1' })
    await client.send(SELF, null, [1, 2, 3])
    await client.acknowledge(
      SELF,
      (await client.messages(SELF)).map((one) => one.message_id),
    )
    await client.list()
    await client.deregister(SELF)
    vi.restoreAllMocks()
    expect(script).toHaveLength(8)
    const wired = ({ head, body }: (typeof script)[number]): string =>
      `${head}${body === '' ? '' : `Content-Length: ${Buffer.byteLength(body)}\r\n`}`
    await fc.assert(
      fc.asyncProperty(changes, fc.boolean(), async (change, raw) => {
        const parts = mutate(
          script,
          change,
          (part, edit) =>
            raw
              ? { ...part, head: textBytes(part.head, edit) }
              : { ...part, body: part.body === '' ? '' : textBytes(part.body, edit) },
          (part, edit) => ({ ...part, body: editJson(part.body, edit) }),
        )
        const requests = parts.map(
          (part, i) =>
            `${wired(part)}${i === parts.length - 1 ? 'Connection: close\r\n' : ''}\r\n${part.body}`,
        )
        const { statuses } = await sendRaw(set.hub, requests.join(''), 150)
        if (parts.length > 0) expect(statuses.length).toBeGreaterThan(0)
        for (const status of statuses) expect(status).toBeLessThan(500)
      }),
      { numRuns: 120 },
    )
    expect((await client.request('GET', '/registry/agents')).status).toBe(200)
    await checkUndisturbed(set.bystander)
    expect(set.faults).toEqual([])
  })
})
