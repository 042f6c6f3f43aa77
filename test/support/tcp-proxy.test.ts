import { once } from 'node:events'
import { connect, createServer, type AddressInfo, type Socket } from 'node:net'
import { expect, test } from 'vitest'
import { startTcpProxy, type TcpProxy } from './tcp-proxy.ts'

interface Line extends AsyncDisposable {
  readonly proxy: TcpProxy
  readonly near: Socket
  readonly far: Socket
}

/** A connection through a proxy, both ends in hand. */
async function openLine(): Promise<Line> {
  const server = createServer()
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  const proxy = await startTcpProxy((server.address() as AddressInfo).port)
  const accepted = once(server, 'connection') as Promise<[Socket]>
  const near = connect(proxy.port, '127.0.0.1')
  const [far] = await accepted
  for (const socket of [near, far]) socket.on('error', () => undefined)
  return {
    proxy,
    near,
    far,
    async [Symbol.asyncDispose]() {
      near.destroy()
      far.destroy()
      await proxy[Symbol.asyncDispose]()
      server.close()
      await once(server, 'close')
    },
  }
}

/** `once` would reject at the error that comes before. */
const closed = (socket: Socket): Promise<void> =>
  new Promise((resolve) => void socket.once('close', () => resolve()))

async function read(socket: Socket, length: number): Promise<string> {
  let text = ''
  while (text.length < length) {
    const [bytes] = (await once(socket, 'data')) as [Buffer]
    text += bytes.toString()
  }
  return text
}

test('bytes pass both ways', async () => {
  await using line = await openLine()
  line.near.write('ping')
  expect(await read(line.far, 4)).toBe('ping')
  line.far.write('pong')
  expect(await read(line.near, 4)).toBe('pong')
})

test('delayed bytes arrive later, in order', async () => {
  await using line = await openLine()
  line.proxy.delay(80, 'up')
  const at = performance.now()
  line.near.write('a')
  line.far.write('b')
  expect(await read(line.near, 1)).toBe('b')
  expect(performance.now() - at).toBeLessThan(80)
  line.near.write('c')
  expect(await read(line.far, 2)).toBe('ac')
  expect(performance.now() - at).toBeGreaterThanOrEqual(79)
})

test('what is stalled in one direction arrives once it is healed; the other direction passes', async () => {
  await using line = await openLine()
  line.proxy.stall('up')
  line.near.write('late')
  line.far.write('now')
  expect(await read(line.near, 3)).toBe('now')
  expect(line.far.bytesRead).toBe(0)
  line.proxy.heal()
  expect(await read(line.far, 4)).toBe('late')
})

test('a cut closes both ends, and one connection may be cut alone', async () => {
  await using line = await openLine()
  const both = Promise.all([closed(line.near), closed(line.far)])
  line.proxy.connections[0]?.cut()
  await both
  expect(line.proxy.connections).toEqual([])
})

test('of a half-open connection one end is gone, and the other is not told until it is healed', async () => {
  await using line = await openLine()
  const gone = closed(line.far)
  line.proxy.halfOpen('near')
  await gone
  line.near.write('into the void')
  expect(line.near.destroyed).toBe(false)
  const noticed = closed(line.near)
  line.proxy.heal()
  await noticed
})

test('of a frozen connection nothing passes and neither end is told of the other, until it is healed', async () => {
  await using line = await openLine()
  line.proxy.freeze()
  line.far.write('into the void')
  const gone = closed(line.near)
  line.near.end('into the void')
  line.near.destroy()
  await gone
  // By now all of it would have come.
  await using other = await openLine()
  other.near.write('ping')
  await read(other.far, 4)
  expect(line.far.bytesRead).toBe(0)
  expect(line.far.destroyed).toBe(false)
  const noticed = closed(line.far)
  line.proxy.heal()
  await noticed
})

test('a connection that has subscribed can be deaf: nothing comes down any more, and an end does', async () => {
  await using line = await openLine()
  line.proxy.deafen()
  line.far.write('heard')
  expect(await read(line.near, 5)).toBe('heard')
  line.near.write('subscribe')
  await read(line.far, 9)
  line.proxy.deafen()
  line.far.write('unheard')
  line.near.write('up')
  expect(await read(line.far, 2)).toBe('up')
  const ended = closed(line.near)
  line.far.end()
  await ended
  expect(line.near.bytesRead).toBe(5)
})

test('a connection that is cut after a piece has brought all of it, and brings no answer', async () => {
  await using line = await openLine()
  line.far.once('data', () => line.far.write('answer'))
  line.proxy.cutsAfter = (piece) => piece.includes('last')
  const both = Promise.all([closed(line.near), closed(line.far)])
  line.near.write('the last words')
  expect(await read(line.far, 14)).toBe('the last words')
  await both
  expect(line.near.bytesRead).toBe(0)
})

test('while it refuses, new connections are reset', async () => {
  await using line = await openLine()
  line.proxy.refuse()
  const refused = connect(line.proxy.port, '127.0.0.1')
  refused.on('error', () => undefined)
  await closed(refused)
  line.proxy.heal()
  const again = connect(line.proxy.port, '127.0.0.1')
  await once(again, 'connect')
  again.destroy()
})
