import { createServer, type Server } from 'node:http'
import { once } from 'node:events'
import { connect as connectTcp, type AddressInfo } from 'node:net'
import { describe, expect, it, onTestFinished } from 'vitest'
import { connect } from '../../client/node.ts'
import { Admission, type Entrant } from '../../src/http/admission.ts'
import { connectAgent, openSocket } from '../support/agent.ts'
import { startTestHub } from '../support/hubs.ts'

const RATE = 100

/** An admission whose clock the test moves. */
class Clocked {
  now = 0
  readonly admission: Admission
  readonly entered: number[] = []
  readonly refused: number[] = []

  constructor(perSecond = RATE) {
    this.admission = new Admission(perSecond, () => this.now)
    onTestFinished(() => this.admission.close())
  }

  ask(count = 1, gone = false): void {
    for (let i = 0; i < count; i++) {
      const entrant: Entrant = {
        gone,
        enter: () => void this.entered.push(this.now),
        refuse: (seconds) => void this.refused.push(seconds),
      }
      this.admission.ask(entrant)
    }
  }

  /** Lets time pass in the steps in which the line is looked at. */
  pass(ms: number): void {
    for (const until = this.now + ms; this.now < until;) {
      this.now += 10
      this.admission.tick()
    }
  }
}

describe('admission', () => {
  it('lets a few in at once, and as many more as the rate says', () => {
    const clocked = new Clocked()
    clocked.ask(20)
    expect(clocked.entered).toHaveLength(5)
    clocked.pass(100)
    expect(clocked.entered).toHaveLength(15)
    clocked.pass(100)
    expect([clocked.entered.length, clocked.refused.length]).toEqual([20, 0])
  })

  it('lets in as they came', () => {
    let now = 0
    const admission = new Admission(10, () => now)
    const order: number[] = []
    for (let i = 0; i < 5; i++)
      admission.ask({ gone: false, enter: () => void order.push(i), refuse: () => undefined })
    for (now = 0; now < 1_000; now += 10) admission.tick()
    expect(order).toEqual([0, 1, 2, 3, 4])
  })

  it('makes up for no more than 50 ms of standing still', () => {
    const clocked = new Clocked()
    clocked.ask(60)
    clocked.now += 5_000
    clocked.admission.tick()
    expect(clocked.entered).toHaveLength(5 + 5)
  })

  it('sends away whom a second in line would not get in, each with a time at which there is room', () => {
    const clocked = new Clocked()
    clocked.ask(5 + RATE)
    expect(clocked.refused).toEqual([])
    clocked.ask(3 * RATE)
    expect(clocked.refused).toHaveLength(3 * RATE)
    // A hundred a second.
    for (const second of [1, 2, 3]) expect(clocked.refused.filter((one) => one === second)).toHaveLength(RATE)
  })

  it('forgets places whose time has passed', () => {
    const clocked = new Clocked()
    clocked.ask(5 + 4 * RATE)
    clocked.pass(10_000)
    clocked.ask(5 + RATE + 1)
    expect(clocked.refused.at(-1)).toBe(1)
  })

  it('passes over who has gone, without a place for it', () => {
    const clocked = new Clocked()
    clocked.ask(5)
    clocked.ask(50, true)
    clocked.ask(1)
    clocked.pass(10)
    expect(clocked.entered).toHaveLength(6)
  })

  it('has everybody in within a time that is the fleet through the rate, when each comes back as told', () => {
    const clocked = new Clocked()
    const fleet = 2_000
    const due: { at: number }[] = Array.from({ length: fleet }, () => ({ at: 0 }))
    const got = { inside: 0 }
    let tries = 0
    let seed = 1
    const random = (): number => (seed = (seed * 16_807) % 2_147_483_647) / 2_147_483_647
    while (got.inside < fleet && clocked.now < 600_000) {
      for (const one of due) {
        if (one.at > clocked.now) continue
        tries++
        one.at = Number.POSITIVE_INFINITY
        clocked.admission.ask({
          gone: false,
          enter: () => void got.inside++,
          refuse: (seconds) => (one.at = clocked.now + (seconds + random()) * 1_000),
        })
      }
      clocked.pass(10)
    }
    expect(got.inside).toBe(fleet)
    expect(clocked.now).toBeLessThan(1.25 * (fleet / RATE) * 1_000)
    expect(tries).toBeLessThan(2.5 * fleet)
  })

  it('that is off lets everybody in', () => {
    const clocked = new Clocked(0)
    clocked.ask(10_000)
    expect(clocked.entered).toHaveLength(10_000)
  })
})

describe('a hub with more connections coming than it takes', () => {
  /** The answer to an upgrade, from its first line to the end of its headers. */
  async function upgrade(port: number): Promise<string> {
    const socket = connectTcp(port, '127.0.0.1')
    onTestFinished(() => void socket.destroy())
    socket.write(
      'GET /mesh HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n',
    )
    const [head] = (await once(socket, 'data')) as [Buffer]
    return head.toString()
  }

  it('answers 503 with Retry-After, and a client of Node comes back then', async () => {
    await using hub = await startTestHub('memory', { handshakesPerSecond: 2 })
    // One at once, two in line for half a second each; who comes now finds the line full.
    const first = [upgrade(hub.port), upgrade(hub.port), upgrade(hub.port)]
    await first[0]
    await expect.poll(() => upgrade(hub.port)).toMatch(/^HTTP\/1\.1 503 [^]*\r\nRetry-After: \d+\r\n/)
    const causes: unknown[] = []
    await using client = await connect({
      url: hub.url,
      name: 'late',
      capabilities: ['nlp'],
      onStatus: (event) => {
        if (event.type === 'waiting')
          causes.push([event.cause.reason, event.cause.retryAfterMs, event.delayMs])
      },
    })
    expect(client.state.type).toBe('open')
    expect(causes[0]).toEqual(['busy', expect.any(Number), expect.any(Number)])
    const [[, retryAfterMs, delayMs]] = causes as [[string, number, number]]
    expect(retryAfterMs).toBeGreaterThanOrEqual(1_000)
    expect(delayMs).toBeGreaterThanOrEqual(retryAfterMs)
    expect(delayMs).toBeLessThanOrEqual(retryAfterMs + 1_000)
    for (const answer of await Promise.all(first)) expect(answer).toMatch(/^HTTP\/1\.1 101 /)
  })

  it('goes on serving those it has, and sends those in line away when it drains', async () => {
    await using hub = await startTestHub('memory', { handshakesPerSecond: 1 })
    await using agent = await connectAgent(hub, { id: 'a1' })
    const waiting = openSocket(hub)
    waiting.catch(() => undefined)
    await agent.roundTrip()
    const drained = hub.drain()
    await expect(waiting).rejects.toThrow('503')
    await agent.close()
    await drained
  })
})

describe('a client of Node', () => {
  async function refusing(
    status: number,
    headers: Record<string, string>,
  ): Promise<{ server: Server; url: string }> {
    const server = createServer()
    server.on('upgrade', (_request, socket) => {
      const lines = Object.entries(headers).map(([name, value]) => `${name}: ${value}\r\n`)
      socket.end(`HTTP/1.1 ${status} No\r\nConnection: close\r\n${lines.join('')}Content-Length: 0\r\n\r\n`)
    })
    server.listen(0, '127.0.0.1')
    await once(server, 'listening')
    onTestFinished(() => void server.close())
    return { server, url: `ws://127.0.0.1:${(server.address() as AddressInfo).port}/mesh` }
  }

  it.each([
    [503, { 'Retry-After': '0' }, 'busy', 0],
    [503, { 'Retry-After': '7' }, 'busy', 7_000],
    [503, { 'Retry-After': '99999999999' }, 'busy', 600_000],
    [503, { 'Retry-After': 'Wed, 21 Oct 2026 07:28:00 GMT' }, 'closed', null],
    [503, {}, 'closed', null],
    [502, { 'Retry-After': '7' }, 'closed', null],
  ] as const)(
    'that is answered %i with %j waits accordingly',
    async (status, headers, reason, retryAfterMs) => {
      const { url } = await refusing(status, headers)
      const giveUp = new AbortController()
      const cause = await new Promise((resolve) => {
        connect({
          url,
          name: 'refused',
          capabilities: ['nlp'],
          signal: giveUp.signal,
          onStatus: (event) => {
            if (event.type === 'waiting') resolve(event.cause)
          },
        }).catch(() => undefined)
      })
      giveUp.abort()
      expect(cause).toMatchObject({
        reason,
        retryAfterMs,
        code: 1006,
        error: { message: expect.stringContaining(String(status)) },
      })
    },
  )
})
