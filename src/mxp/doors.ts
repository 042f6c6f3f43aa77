/** Where agents of MXP come in: the gateway over WebSocket, and the registry over UDP. */
export { MXP_SUBPROTOCOL, speakMxp } from './gateway/dialect.ts'
export { UdpDoor } from './udp-door.ts'
