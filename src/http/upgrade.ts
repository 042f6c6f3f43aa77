import { ServerResponse, type IncomingMessage } from 'node:http'
import type { Socket } from 'node:net'
import type { Duplex } from 'node:stream'
import type { FastifyInstance } from 'fastify'
import { WebSocketServer } from 'ws'
import { MeshError } from '../../protocol/errors.ts'
import { SUBPROTOCOL } from '../../protocol/limits.ts'
import { authenticateHeader } from '../auth/credentials.ts'
import type { Principal } from '../auth/principal.ts'
import type { Speak } from '../hub/dialect.ts'
import type { Hub } from '../hub/hub.ts'
import { RateTable } from '../hub/rate-table.ts'
import type { Addresses } from './addresses.ts'
import { Admission } from './admission.ts'
import { doubledRefusal, type Gate } from './gate.ts'
import { rawAnswer, SECURITY_LINES } from './raw-answer.ts'
import { originForm } from './target.ts'

/** Where WebSockets are. */
export const MESH_PATH = '/mesh'
/** Of WebSocket: 13 is that of RFC 6455, and 8 a draft that differs in nothing here. */
const VERSIONS: ReadonlySet<string | undefined> = new Set(['8', '13'])
const STATUS_START = 'HTTP/1.1 '.length

/** Seconds' worth of handshakes that one address may make at once: many clients may be behind it, and come back together. */
const ADDRESS_BURST_S = 10

/** Subprotocols of other clients than the hub's own → how their connections are spoken with. */
export type Dialects = ReadonlyMap<string, Speak>

export interface UpgradeOptions {
  readonly hub: Hub
  readonly gate: Gate
  readonly addresses: Addresses
  readonly dialects: Dialects
}

/**
 * Has the app's server take handshakes of WebSocket at `/mesh`: first what the handshake says is looked at, then how many its
 * address has made, then whether the hub takes one more now, then who it is. What is refused is answered over HTTP.
 */
export function acceptUpgrades(
  app: FastifyInstance,
  { hub, gate, addresses, dialects }: UpgradeOptions,
): void {
  const subprotocols = [SUBPROTOCOL, ...dialects.keys()]
  const webSockets = new WebSocketServer({
    noServer: true,
    maxPayload: hub.settings.maxMessageBytes,
    // Frames are joined and written by ourselves (hub/outbox.ts); compressing each costs more than it saves.
    perMessageDeflate: false,
    clientTracking: false,
    handleProtocols: (offered) => subprotocols.find((one) => offered.has(one)) ?? false,
  })
  webSockets.on('headers', (lines) => lines.push(...SECURITY_LINES))
  webSockets.on('wsClientError', (error, socket) => refuseWith(hub, socket, rawAnswer(400, error.message)))
  const perAddress = hub.settings.addressHandshakesPerSecond
  const handshakes = new RateTable(perAddress, Math.max(1, perAddress * ADDRESS_BURST_S))
  const admission = new Admission(hub.settings.handshakesPerSecond)
  hub.onDrain(() => admission.close())
  app.server.on('upgrade', (request: IncomingMessage, socket: Duplex, head: Buffer) => {
    // A peer that is gone already must not end the hub.
    socket.on('error', destroy)
    if (request.headers.upgrade?.toLowerCase() !== 'websocket') {
      answerPlainly(app, request, socket)
      return
    }
    const refusal = refuse(hub, gate, request, subprotocols)
    if (refusal) {
      refuseWith(hub, socket, refusal)
      return
    }
    const now = Date.now()
    const address = perAddress === 0 ? '' : addresses.keyOf(request)
    if (handshakes.take(address, now) > 0) {
      refuseWith(hub, socket, tooManyAnswer(Math.ceil(handshakes.promise(address, now) / 1_000)))
      return
    }
    admission.ask({
      get gone() {
        return socket.destroyed
      },
      enter() {
        identify(hub, request).then(
          (principal) => {
            if (socket.destroyed) return
            if (hub.draining) {
              end(socket, drainingAnswer())
              return
            }
            socket.off('error', destroy)
            webSockets.handleUpgrade(request, socket, head, (webSocket) =>
              hub.accept(webSocket, { principal, speak: dialects.get(webSocket.protocol) }),
            )
          },
          (error: unknown) => end(socket, unidentifiedAnswer(hub, error)),
        )
      },
      refuse: (retryAfterS) =>
        refuseWith(hub, socket, hub.draining ? drainingAnswer() : busyAnswer(retryAfterS)),
    })
  })
}

/** Who knocks, by the `Authorization` header; null where `hello` has to say, and while authentication is off. @throws MeshError */
async function identify({ authenticator }: Hub, { headers }: IncomingMessage): Promise<Principal | null> {
  if (!authenticator.required || headers.authorization === undefined) return null
  return authenticateHeader(authenticator, headers.authorization)
}

function unidentifiedAnswer(hub: Hub, error: unknown): string {
  if (error instanceof MeshError && error.code === 'unauthorized')
    return rawAnswer(401, error.message, { 'WWW-Authenticate': 'Bearer' })
  if (error instanceof MeshError)
    return rawAnswer(503, error.message, { 'Retry-After': Math.ceil((error.retryAfterMs ?? 0) / 1_000) })
  hub.log.error({ err: error }, 'authentication failed')
  return rawAnswer(500, 'The hub failed at this request; try again')
}

/**
 * An upgrade that this server does not know (`h2c`, which some HTTP clients always offer) may be left out (RFC 9110, 7.8): the request is
 * answered as if it had not been offered. Node has let go of its body by then, so only one that has none can be.
 */
function answerPlainly(app: FastifyInstance, request: IncomingMessage, socket: Duplex): void {
  if (request.method !== 'GET' && request.method !== 'HEAD') {
    end(socket, rawAnswer(501, 'This hub upgrades to websocket only; ask without Upgrade'))
    return
  }
  const response = new ServerResponse(request)
  response.shouldKeepAlive = false
  response.assignSocket(socket as Socket)
  response.on('finish', () => socket.end(() => socket.destroy()))
  app.routing(request, response)
}

function destroy(this: Duplex): void {
  this.destroy()
}

/** Answers, and closes: one that never closes its side must not keep the socket. */
function end(socket: Duplex, text: string): void {
  socket.end(text, () => socket.destroy())
}

/** Answers a handshake that is not to be. */
function refuseWith(hub: Hub, socket: Duplex, text: string): void {
  hub.metrics.refused(Number(text.slice(STATUS_START, STATUS_START + 3)))
  end(socket, text)
}

/** The HTTP answer to an upgrade that is not to be, or null. */
function refuse(
  hub: Hub,
  gate: Gate,
  request: IncomingMessage,
  subprotocols: readonly string[],
): string | null {
  const { headers, url = '/', method } = request
  const refusal = doubledRefusal(request.rawHeaders) ?? gate.refusal(headers, url)
  if (refusal) return rawAnswer(refusal.status, refusal.text)
  const [path] = originForm(url).split('?')
  if (path !== MESH_PATH) return rawAnswer(404, `WebSockets are at ${MESH_PATH}`)
  if (method !== 'GET') return rawAnswer(405, 'Ask for a WebSocket by GET', { Allow: 'GET' })
  if (!VERSIONS.has(headers['sec-websocket-version']))
    return rawAnswer(426, 'This hub speaks version 13 of WebSocket', { 'Sec-WebSocket-Version': 13 })
  if (hub.draining) return drainingAnswer()
  const offered = headers['sec-websocket-protocol']
  if (offered !== undefined && !offered.split(',').some((one) => subprotocols.includes(one.trim()))) {
    const known = subprotocols.join(' and ')
    return rawAnswer(400, `This hub speaks ${known} over WebSocket; offer one of them, or none`)
  }
  return null
}

const drainingAnswer = (): string =>
  rawAnswer(503, 'This hub is shutting down; connect to another one', { 'Retry-After': 0 })

const busyAnswer = (retryAfterS: number): string =>
  rawAnswer(503, 'This hub takes no more connections now; come back later', { 'Retry-After': retryAfterS })

const tooManyAnswer = (retryAfterS: number): string =>
  rawAnswer(429, 'More connections come from this address than this hub takes; come back later', {
    'Retry-After': retryAfterS,
  })
