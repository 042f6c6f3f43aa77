import { addressText, type RedisAddress } from './redis-url.ts'

export const SLOTS = 16_384

const CRC16 = Uint16Array.from({ length: 256 }, (_, byte) => {
  let crc = byte << 8
  for (let bit = 0; bit < 8; bit++) crc = crc & 0x8000 ? (crc << 1) ^ 0x1021 : crc << 1
  return crc
})

/** The slot of a key or a sharded channel, as the Redis Cluster specification says: CRC16 (XMODEM) of its hash tag, or of all of it. */
export function slotOf(key: string): number {
  const open = key.indexOf('{')
  const close = open < 0 ? -1 : key.indexOf('}', open + 1)
  const hashed = close > open + 1 ? key.slice(open + 1, close) : key
  let crc = 0
  for (const byte of Buffer.from(hashed))
    crc = ((crc << 8) & 0xffff) ^ (CRC16[((crc >> 8) ^ byte) & 0xff] ?? 0)
  return crc % SLOTS
}

/** Who serves what, of one moment. */
export interface SlotMap {
  /** Slot → primary (`host:port`); undefined: nobody. */
  readonly owners: readonly (string | undefined)[]
  /** The primaries that serve slots. */
  readonly primaries: ReadonlyMap<string, RedisAddress>
}

/**
 * The answer to CLUSTER SLOTS: `[first, last, [host, port, id, …], replicas …]` for each range.
 * @param asked whom it was asked of: a node that does not know its own address leaves it out
 */
export function parseSlots(reply: unknown, asked: RedisAddress): SlotMap {
  const owners: (string | undefined)[] = Array.from({ length: SLOTS })
  const primaries = new Map<string, RedisAddress>()
  for (const [first, last, [host, port]] of reply as [number, number, [string | null, number]][]) {
    const address = { host: host || asked.host, port }
    const name = addressText(address)
    primaries.set(name, address)
    owners.fill(name, first, last + 1)
  }
  return { owners, primaries }
}
