import { addressText, type RedisAddress, type RedisTarget, targetText } from './redis-url.ts'

const OLDEST_MAJOR = 7

/** A server that must not keep a mesh; the message says what mends it. */
export class UnfitServer extends Error {
  override readonly name = 'UnfitServer'
}

/** One value of INFO; null where the server does not tell it. */
export const infoValue = (info: string, name: string): string | null =>
  new RegExp(`^${name}:([^\\r\\n]*)`, 'm').exec(info)?.[1] ?? null

/** For people: the server; of a Cluster, which of its nodes. */
const serverText = (target: RedisTarget, address: RedisAddress): string =>
  target.kind === 'cluster' ? `${addressText(address)} of ${targetText(target)}` : targetText(target)

/**
 * Why a server must not keep a mesh, or null.
 * @param info its answer to INFO
 * @param address where a Cluster has it
 */
export function unfitness(info: string, target: RedisTarget, address: RedisAddress): UnfitServer | null {
  const what = serverText(target, address)
  const version = infoValue(info, 'redis_version') ?? '0'
  if (Number.parseInt(version, 10) < OLDEST_MAJOR)
    return new UnfitServer(
      `${what} is version ${version}: Meshwire needs Redis ${OLDEST_MAJOR}.0 or later, or Valkey`,
    )
  if (target.kind === 'server' && infoValue(info, 'redis_mode') === 'cluster')
    return new UnfitServer(`${what} is a node of a Cluster: write redis-cluster:// in REDIS_URL`)
  if (target.kind === 'server' && infoValue(info, 'role') === 'slave')
    return new UnfitServer(`${what} is a replica, which takes no writes: name its primary in REDIS_URL`)
  const policy = infoValue(info, 'maxmemory_policy')
  const evicts = Number(infoValue(info, 'maxmemory') ?? 0) > 0 && policy !== null && policy !== 'noeviction'
  if (!evicts) return null
  return new UnfitServer(
    `${what} may throw messages away (maxmemory is set and maxmemory-policy is ${policy}): run ` +
      `"CONFIG SET maxmemory-policy noeviction" there and put "maxmemory-policy noeviction" into its redis.conf`,
  )
}

/** What an operator should know of a server that is fit, or null. */
export function concern(info: string, target: RedisTarget, address: RedisAddress): string | null {
  if (infoValue(info, 'maxmemory_policy') !== null) return null
  return `${serverText(target, address)} does not tell its maxmemory-policy; make sure that it is noeviction, or messages get lost`
}
