/** Why a hub closes a socket (PROTOCOL.md section 8). The name is also the close reason on the wire. */
export const CLOSE_CODES = {
  hub_failed: 4000,
  draining: 4001,
  no_sign_of_life: 4002,
  token_expired: 4003,
  store_unavailable: 4004,
  slow_consumer: 4008,
  bad_protocol: 4400,
  unauthorized: 4401,
  forbidden: 4403,
  no_hello: 4408,
  taken_over: 4409,
  unregistered: 4410,
  normal: 1000,
  unsupported_data: 1003,
  too_large: 1009,
} as const

export type CloseReason = keyof typeof CLOSE_CODES

const FINAL: ReadonlySet<number> = new Set([1000, 1002, 1003, 1007, 1008, 1009])

/**
 * Whether a client that was closed with `code` connects again unchanged. 4400–4499 and the codes that mean "this client is
 * at fault" are final; everything else, known or not, is a failure that passes.
 */
export function shouldReconnect(code: number): boolean {
  return !FINAL.has(code) && !(code >= 4400 && code <= 4499)
}
