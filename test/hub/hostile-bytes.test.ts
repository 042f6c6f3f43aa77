import { once } from 'node:events'
import { connect, type Socket } from 'node:net'
import { describe, expect, it } from 'vitest'
import type { HubServer } from '../../src/server.ts'
import { connectAgent, openSocket } from '../support/agent.ts'
import { startTestHub } from '../support/hubs.ts'

describe('bytes that are no WebSocket', () => {
  const HANDSHAKE =
    'GET /mesh HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n'

  /** A TCP connection that has sent `bytes`. */
  async function dial(hub: HubServer, bytes: string | Buffer): Promise<Socket> {
    const socket = connect(hub.port, '127.0.0.1')
    socket.on('error', () => undefined)
    await once(socket, 'connect')
    socket.write(bytes)
    return socket
  }

  /** What the hub answers until it ends the connection. */
  async function answerOf(socket: Socket): Promise<string> {
    let answer = ''
    socket.on('data', (data: Buffer) => (answer += data.toString('latin1')))
    if (!socket.readableEnded && !socket.destroyed) await once(socket, 'end')
    socket.destroy()
    return answer
  }

  const alive = async (hub: HubServer): Promise<void> => {
    await using agent = await connectAgent(hub, { ephemeral: true })
    await agent.roundTrip()
  }

  it.each([
    ['an upgrade to a path that is no URL', '404', HANDSHAKE.replace('/mesh', '//')],
    ['an upgrade to a host that is none', '403', HANDSHAKE.replace('/mesh', 'http://[')],
    ['an upgrade to elsewhere', '404', HANDSHAKE.replace('/mesh', '/%00%ff/../mesh')],
    ['an upgrade to another protocol', '426', HANDSHAKE.replace('Upgrade: websocket', 'Upgrade: h2c')],
    ['an upgrade without a key', '400', HANDSHAKE.replace(/Sec-WebSocket-Key.*\r\n/, '')],
    ['an upgrade of an old version', '426', HANDSHAKE.replace('Version: 13', 'Version: 1')],
    ['a POST that wants an upgrade', '405', HANDSHAKE.replace('GET', 'POST')],
    [
      'a subprotocol that is no token',
      '400',
      HANDSHAKE.replace('\r\n\r\n', '\r\nSec-WebSocket-Protocol: meshwire.v1, a b\r\n\r\n'),
    ],
    ['something that is no HTTP', '400', '\u0016\u0003\u0001 hello\r\n\r\n'],
  ])('get an HTTP answer: %s', async (_what, status, bytes) => {
    await using hub = await startTestHub('memory')
    const socket = await dial(hub, bytes)
    expect(await answerOf(socket)).toMatch(new RegExp(`^HTTP/1.1 ${status}`))
    await alive(hub)
  })

  it('that are refused and never closed by the peer do not keep the hub from closing', async () => {
    const hub = await startTestHub('memory')
    const socket = connect({ port: hub.port, host: '127.0.0.1', allowHalfOpen: true })
    await once(socket, 'connect')
    socket.write(HANDSHAKE.replace('/mesh', '/elsewhere'))
    await once(socket, 'data')
    await hub.close()
    socket.destroy()
  })

  it('from peers that reset the connection end nothing', async () => {
    await using hub = await startTestHub('memory')
    for (const bytes of [
      HANDSHAKE,
      HANDSHAKE.replace('/mesh', '/elsewhere'),
      HANDSHAKE.replace('GET', 'POST'),
    ]) {
      for (let i = 0; i < 20; i++) (await dial(hub, bytes)).resetAndDestroy()
    }
    await alive(hub)
  })

  it.each([
    ['an unmasked frame', 1002, [0x81, 0x02, 0x7b, 0x7d]],
    ['an unknown opcode', 1002, [0x83, 0x80, 0, 0, 0, 0]],
    ['a reserved bit', 1002, [0xc1, 0x80, 0, 0, 0, 0]],
    ['a continuation of nothing', 1002, [0x80, 0x80, 0, 0, 0, 0]],
    ['a control frame in pieces', 1002, [0x09, 0x80, 0, 0, 0, 0]],
    ['a length of 2^62', 1009, [0x81, 0xff, 0x40, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]],
    ['a length of 2 MiB', 1009, [0x81, 0xff, 0, 0, 0, 0, 0, 0x20, 0, 0, 0, 0, 0, 0]],
  ])('after the handshake close with the code of RFC 6455: %s', async (_what, code, bytes) => {
    await using hub = await startTestHub('memory')
    const socket = await dial(hub, HANDSHAKE)
    await once(socket, 'data')
    socket.write(Buffer.from(bytes))
    const answer = Buffer.from(await answerOf(socket), 'latin1')
    expect(answer[0]).toBe(0x88)
    expect(answer.readUInt16BE(2)).toBe(code)
    await alive(hub)
  })

  it('that trickle in one by one are a frame in the end', async () => {
    await using hub = await startTestHub('memory')
    const socket = await dial(hub, HANDSHAKE)
    await once(socket, 'data')
    const answered = answerOf(socket)
    socket.setNoDelay(true)
    for (const byte of [0x81, 0x82, 0, 0, 0, 0, 0x5b, 0x5d]) {
      socket.write(Buffer.from([byte]))
      await alive(hub)
    }
    const answer = Buffer.from(await answered, 'latin1')
    expect(answer.readUInt16BE(2)).toBe(4400)
  })
})

describe('a flood', () => {
  it('of pongs that nobody asked for disturbs nobody', async () => {
    await using hub = await startTestHub('memory')
    await using attacker = await connectAgent(hub, { id: 'a1' })
    for (let i = 0; i < 10_000; i++) attacker.send({ type: 'pong', metrics: { load: i } })
    await attacker.roundTrip()
    await using agent = await connectAgent(hub, { id: 'a2' })
    await agent.roundTrip()
  })

  it('of WebSocket pings ends at most the attacker', async () => {
    await using hub = await startTestHub('memory')
    await using agent = await connectAgent(hub, { id: 'a1' })
    await using attacker = await connectAgent(hub, { id: 'a2' })
    for (let i = 0; i < 10_000; i++) attacker.webSocket.ping()
    await agent.roundTrip()
    await using next = await connectAgent(hub, { id: 'a3' })
    await next.roundTrip()
  })

  it('of connections that say nothing, or are gone at once, leaves the hub as it was', async () => {
    await using hub = await startTestHub('memory')
    const sockets = await Promise.all(Array.from({ length: 200 }, () => openSocket(hub)))
    await Promise.all(sockets.map((socket) => socket.cut()))
    await using agent = await connectAgent(hub, { id: 'a1' })
    await agent.roundTrip()
    await expect
      .poll(
        async () =>
          ((await (await fetch(`${hub.httpUrl}/health`)).json()) as { active_sessions: number })
            .active_sessions,
      )
      .toBe(1)
  })
})
