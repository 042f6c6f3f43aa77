import { isIP } from 'node:net'

/** An IPv4 address that came by IPv6 is an IPv4 address; a zone (`%eth0`) says nothing to others. */
export function plain(address: string): string {
  const [bare = ''] = address.split('%')
  return /^::ffff:(\d+\.\d+\.\d+\.\d+)$/i.exec(bare)?.[1] ?? bare
}

/** What to count a plain address by: of IPv6 its /64, since whoever has one address of that has them all. */
export function networkOf(address: string): string {
  if (isIP(address) !== 6) return address
  const [head = '', tail] = address.toLowerCase().split('::')
  const before = head === '' ? [] : head.split(':')
  // An IPv4 address at the end stands for two groups.
  const after = tail === undefined || tail === '' ? [] : tail.split(':')
  const given = before.length + after.length + (address.includes('.') ? 1 : 0)
  const groups = tail === undefined ? before : [...before, ...Array<string>(8 - given).fill('0'), ...after]
  const first = groups.slice(0, 4).map((group) => Number.parseInt(group, 16).toString(16))
  return `${first.join(':')}::/64`
}
