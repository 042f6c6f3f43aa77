import type { AddressInfo } from 'node:net'
import { WebSocket, WebSocketServer } from 'ws'
import type { Frame } from './scripted-hub.ts'

/** What becomes of one frame: `pass`ed on, `double`d, `lose`d with the connection, or the connection cut right after it. */
export type Fate = 'pass' | 'double' | 'lose' | 'cut'
export type Direction = 'toHub' | 'toClient'

/**
 * A WebSocket proxy that looks at single frames and decides their fate. A frame is only ever lost together with its
 * connection, as on a real network: everything after it is lost too.
 */
export class FaultProxy {
  readonly url: string
  /** Where new connections go to. */
  target: string
  decide: (direction: Direction, frame: Frame) => Fate = () => 'pass'
  /** Connections so far. */
  connections = 0
  readonly #server: WebSocketServer

  constructor(server: WebSocketServer, target: string) {
    this.#server = server
    this.target = target
    this.url = `ws://127.0.0.1:${(server.address() as AddressInfo).port}/mesh`
    server.on('connection', (client, request) => this.#connect(client, request.headers.authorization))
  }

  /** Cuts every connection. */
  cut(): void {
    for (const client of this.#server.clients) client.terminate()
  }

  #connect(client: WebSocket, authorization: string | undefined): void {
    this.connections++
    const hub = new WebSocket(this.target, ['meshwire.v1'], {
      headers: authorization === undefined ? {} : { authorization },
    })
    const early: string[] = []
    let doomed = false
    const end = (): void => {
      client.terminate()
      hub.terminate()
    }
    /** What passes of a text; from a loss on, nothing does. */
    const judge = (direction: Direction, text: string): string => {
      const passed: string[] = []
      for (const line of text.split('\n')) {
        if (doomed) break
        const fate = this.decide(direction, JSON.parse(line) as Frame)
        if (fate !== 'lose') passed.push(line)
        if (fate === 'double') passed.push(line)
        doomed = fate === 'lose' || fate === 'cut'
        // After what passed has had its turn to be written.
        if (doomed) setImmediate(end)
      }
      return passed.join('\n')
    }
    hub.on('error', end)
    client.on('error', end)
    hub.on('open', () => early.splice(0).forEach((text) => hub.send(text)))
    client.on('message', (data) => {
      const text = judge('toHub', (data as Buffer).toString())
      if (text === '') return
      if (hub.readyState === WebSocket.OPEN) hub.send(text)
      else early.push(text)
    })
    hub.on('message', (data) => {
      const text = judge('toClient', (data as Buffer).toString())
      if (text !== '') client.send(text)
    })
    client.on('close', () => hub.terminate())
    hub.on('close', (code, reason) => {
      if (code >= 3000 || code === 1000) client.close(code, reason.toString())
      else client.terminate()
    })
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.cut()
    await new Promise((resolve) => this.#server.close(resolve))
  }
}

/** Starts a fault proxy on a free port, before `target`. */
export async function startFaultProxy(target: string): Promise<FaultProxy> {
  const server = new WebSocketServer({ port: 0, host: '127.0.0.1', handleProtocols: () => 'meshwire.v1' })
  await new Promise((resolve) => server.once('listening', resolve))
  return new FaultProxy(server, target)
}
