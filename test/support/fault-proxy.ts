import type { AddressInfo } from 'node:net'
import { WebSocket, WebSocketServer } from 'ws'
import type { Frame } from './scripted-hub.ts'

/**
 * What becomes of one frame: `pass`ed on, `double`d, `delay`ed with all behind it in its direction, `lose`d with the connection,
 * or the connection cut right after it. `hold`: as `delay`, for as long as the connection lasts.
 */
export type Fate = 'pass' | 'double' | 'delay' | 'hold' | 'lose' | 'cut'
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
  /** Milliseconds of a `delay`. */
  delayMs = 30
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
    /** Answers what takes the texts of a direction and sends on what passes; from a loss on, nothing does. */
    const judge = (direction: Direction, send: (text: string) => void): ((text: string) => void) => {
      const lines: string[] = []
      let held = false
      const pass = (): void => {
        const passed: string[] = []
        while (!held && !doomed && lines.length > 0) {
          const line = lines.shift() as string
          const fate = this.decide(direction, JSON.parse(line) as Frame)
          held = fate === 'delay' || fate === 'hold'
          if (fate === 'delay') setTimeout(() => ((held = false), send(line), pass()), this.delayMs).unref()
          if (held) break
          if (fate !== 'lose') passed.push(line)
          if (fate === 'double') passed.push(line)
          doomed = fate === 'lose' || fate === 'cut'
          // After what passed has had its turn to be written.
          if (doomed) setImmediate(end)
        }
        if (passed.length > 0) send(passed.join('\n'))
      }
      return (text) => {
        lines.push(...text.split('\n'))
        pass()
      }
    }
    const toHub = judge('toHub', (text) => {
      if (hub.readyState === WebSocket.CONNECTING) early.push(text)
      else hub.send(text)
    })
    const toClient = judge('toClient', (text) => client.send(text))
    hub.on('error', end)
    client.on('error', end)
    hub.on('open', () => early.splice(0).forEach((text) => hub.send(text)))
    client.on('message', (data) => toHub((data as Buffer).toString()))
    hub.on('message', (data) => toClient((data as Buffer).toString()))
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
