import type { Client } from './client.ts'
import { connectWith } from './core.ts'
import type { ConnectOptions } from './options.ts'
import { createParts } from './parts.ts'
import type { Platform } from './socket.ts'

/** Connects on a platform, with all parts of the client at hand; what `connect` of both entries is made of. */
export function connectOn(platform: Platform, options: ConnectOptions): Promise<Client> {
  return connectWith(platform, options, () => createParts)
}
