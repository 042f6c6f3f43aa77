import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import { connect } from '../../client/node.ts'
import { MXP_FLAGS, type MxpMessage, type MxpType } from '../../src/mxp/index.ts'
import { MESH_CODES, REGISTRY_CODES } from '../../src/mxp/registry-error.ts'
import type { HubServer } from '../../src/server.ts'
import { startTestHub } from '../support/hubs.ts'
import { fencedBlocks, tableRows } from '../support/markdown.ts'
import { type Came, MxpSocket } from '../support/mxp-agent.ts'
import { jsonOf, message, MxpUdp } from '../support/mxp-udp.ts'
import { ROOT, runNode, startNode } from '../support/run.ts'

const PAGE = readFileSync(join(ROOT, 'docs/mxp.md'), 'utf8')

/** The page's code that has `part` in it. */
const codeWith = (part: string): string =>
  fencedBlocks(PAGE, 'js').find((block) => block.includes(part)) ?? ''

/** How many messages an agent has not acknowledged. */
async function inboxOf(hub: HubServer, agentId: string): Promise<number> {
  const response = await fetch(`${hub.httpUrl}/api/v1/agents/${agentId}/inbox`)
  return ((await response.json()) as { readonly inbox: { readonly entries: number } }).inbox.entries
}

/** One line of a conversation: who, which way, type, flag, payload. */
const LINE = /^(\w+) ([→←]) (\w+)(?: (REQUIRES_ACK|FINAL))?(?: (\{.*\}))?$/

/** A message without what the page does not show, and `…` for what differs each time. */
function shown(came: Came, expected: unknown): unknown {
  const { type, flags, body } = came
  return { type, flags, body: likened(body, expected) }
}

/** `value`, with `…` where `expected` has it. */
function likened(value: unknown, expected: unknown): unknown {
  if (expected === '…' && value != null) return '…'
  if (typeof value !== 'object' || value === null || typeof expected !== 'object' || expected === null)
    return value
  if (Array.isArray(value)) return value.map((one, index) => likened(one, (expected as unknown[])[index]))
  return Object.fromEntries(
    Object.entries(value).map(([key, one]) => [
      key,
      likened(one, (expected as Record<string, unknown>)[key]),
    ]),
  )
}

/** Somebody of a conversation, at the gateway or over UDP. */
interface Actor extends AsyncDisposable {
  say(type: MxpType, flags: number, payload: unknown): void
  hear(type: MxpType): Promise<Came>
}

async function atGateway(url: string): Promise<Actor> {
  const socket = await MxpSocket.open(url)
  // What an answer answers: the latest Call, or what asked for an Ack last.
  let called: Came | null = null
  let toAck: Came | null = null
  const idsFor = (type: MxpType): Partial<MxpMessage> => {
    const answered = type === 'Response' || type === 'StreamOpen' ? called : type === 'Ack' ? toAck : null
    return answered ? { messageId: answered.messageId, traceId: answered.traceId } : {}
  }
  return {
    say: (type, flags, payload) => void socket.send(type, payload, { ...idsFor(type), flags }),
    async hear(type) {
      const came = await socket.nextWhere(() => true, type)
      if (came.type === 'Call') called = came
      if (came.flags & MXP_FLAGS.REQUIRES_ACK) toAck = came
      return came
    },
    [Symbol.asyncDispose]: () => socket[Symbol.asyncDispose](),
  }
}

function overUdp(udp: MxpUdp): Actor {
  return {
    say: (type, flags, payload) => udp.send(message(type, payload, { flags })),
    async hear() {
      const { payload, ...came } = await udp.next()
      return { ...came, body: jsonOf({ payload, ...came }) }
    },
    [Symbol.asyncDispose]: () => udp[Symbol.asyncDispose](),
  }
}

/** Everybody of one conversation, by name; `sdk` is over UDP. */
class Actors implements AsyncDisposable {
  readonly #actors = new Map<string, Actor>()

  async find(who: string, hub: HubServer): Promise<Actor> {
    const known = this.#actors.get(who)
    if (known) return known
    const actor = who === 'sdk' ? overUdp(await MxpUdp.open(hub)) : await atGateway(hub.url)
    this.#actors.set(who, actor)
    return actor
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const actor of this.#actors.values()) await actor[Symbol.asyncDispose]()
  }
}

describe('docs/mxp.md', () => {
  const conversations = fencedBlocks(PAGE, 'mxp')

  it('has conversations', () => {
    expect(conversations).toHaveLength(3)
  })

  it.each(conversations.map((text) => [text.split(' ')[0], text]))(
    'shows the conversation of %s as it happens',
    async (_who, text) => {
      await using hub = await startTestHub('memory', { mxpUdpPort: 0 })
      await using actors = new Actors()
      for (const line of text.trim().split('\n')) {
        const [, who = '', way, type, flag, json = '{}'] = LINE.exec(line) ?? []
        expect(way, line).toBeDefined()
        const flags = flag ? MXP_FLAGS[flag as keyof typeof MXP_FLAGS] : 0
        const payload: unknown = JSON.parse(json)
        const actor = await actors.find(who, hub)
        if (way === '→') actor.say(type as MxpType, flags, type === 'Ack' ? undefined : payload)
        else
          expect(shown(await actor.hear(type as MxpType), payload), line).toEqual({
            type,
            flags,
            body: payload,
          })
      }
    },
  )

  it('shows code that prints what it says', async () => {
    const [code = ''] = fencedBlocks(PAGE, 'js')
    const printed = [...code.matchAll(/console\.log.* \/\/ (.*)$/gm)].map(([, text = '']) => `${text}\n`)
    expect(await runNode(['--input-type=module', '-'], {}, code)).toEqual({
      code: 0,
      output: printed.join(''),
      errors: '',
    })
  })

  it('shows how to see that the registry answers, with what is printed', async () => {
    await using hub = await startTestHub('memory', { mxpUdpPort: 0 })
    const code = codeWith('node:dgram').replace('9000', String(hub.mxpUdpPort))
    const printed = fencedBlocks(PAGE, '').find((block) => block.startsWith('Response'))
    expect(await runNode(['--input-type=module', '-'], {}, code)).toEqual({
      code: 0,
      output: printed,
      errors: '',
    })
  })

  it('shows an agent that answers others, whatever they speak', async () => {
    await using hub = await startTestHub('memory')
    await using adder = startNode(['--input-type=module', '-'])
    adder.child.stdin.end(codeWith("from 'ws'").replace('ws://127.0.0.1:7171/mesh', hub.url))
    await using asker = await connect({ url: hub.url, name: 'asker', capabilities: ['asking'] })
    await expect
      .poll(async () => (await asker.discover({ capabilities: { all: ['sum'] } })).agents, { timeout: 5_000 })
      .toHaveLength(1)
    for (const b of [3, 4])
      expect(await asker.request({ name: 'adder' }, { a: 2, b })).toMatchObject({ payload: 2 + b })
    await asker.send('adder', 'thanks')
    await expect.poll(async () => inboxOf(hub, 'adder'), { timeout: 5_000 }).toBe(0)
  })

  it('lists every code of an Error, and which codes of the mesh have it', () => {
    const rows = tableRows(PAGE).map((row) => row.map((cell) => cell.replaceAll('`', '')))
    const own = rows.filter(([code = '']) => Object.hasOwn(REGISTRY_CODES, code))
    expect(own).toEqual(Object.entries(REGISTRY_CODES))
    const ofTheMesh = rows.filter(([code = '']) => Object.hasOwn(MESH_CODES, code))
    expect(ofTheMesh).toEqual(Object.entries(MESH_CODES))
  })
})
