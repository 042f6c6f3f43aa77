import type { IncomingMessage } from 'node:http'
import * as fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { Addresses } from '../../src/http/addresses.ts'

function keyOf(trusted: readonly string[], peer: string | undefined, forwarded?: string): string {
  const headers = forwarded === undefined ? {} : { 'x-forwarded-for': forwarded }
  return new Addresses(trusted).keyOf({
    socket: { remoteAddress: peer },
    headers,
  } as unknown as IncomingMessage)
}

const PROXIES = ['10.0.0.0/8', '127.0.0.1', '2001:db8:1::/48']

describe('the address of a request', () => {
  it.each([
    ['192.0.2.1', '192.0.2.1'],
    ['::ffff:192.0.2.1', '192.0.2.1'],
    ['2001:db8:0:1:2:3:4:5', '2001:db8:0:1::/64'],
    ['2001:DB8:0:1::9', '2001:db8:0:1::/64'],
    ['fe80::1%eth0', 'fe80:0:0:0::/64'],
    ['::1', '0:0:0:0::/64'],
    ['64:ff9b::192.0.2.1', '64:ff9b:0:0::/64'],
    [undefined, ''],
  ])('%s counts as %s', (peer, key) => {
    expect(keyOf([], peer)).toBe(key)
  })

  it('is that of the peer, whatever it says of others, unless it is a trusted proxy', () => {
    expect(keyOf([], '192.0.2.1', '198.51.100.7')).toBe('192.0.2.1')
    expect(keyOf(PROXIES, '192.0.2.1', '198.51.100.7')).toBe('192.0.2.1')
    expect(keyOf(PROXIES, '10.1.2.3', '198.51.100.7')).toBe('198.51.100.7')
    expect(keyOf(PROXIES, '::ffff:10.1.2.3', '198.51.100.7')).toBe('198.51.100.7')
    expect(keyOf(PROXIES, '2001:db8:1::5', '198.51.100.7')).toBe('198.51.100.7')
  })

  it.each([
    ['203.0.113.9, 198.51.100.7', '198.51.100.7', 'what the client made up stands before it'],
    ['198.51.100.7, 10.9.9.9, 127.0.0.1', '198.51.100.7', 'proxies of ours are passed over'],
    ['10.9.9.9, 10.8.8.8', '10.9.9.9', 'all are ours: the first one asked for itself'],
    ['198.51.100.7:443', '198.51.100.7', 'with a port'],
    ['[2001:db8::1]:443', '2001:db8:0:0::/64', 'IPv6 with a port'],
    ['::ffff:198.51.100.7', '198.51.100.7', 'IPv4 in IPv6'],
    ['', '10.1.2.3', 'nothing'],
    ['unknown', '10.1.2.3', 'no address'],
    ['198.51.100.7, unknown', '10.1.2.3', 'no address nearest to us'],
    ['198.51.100.7,', '10.1.2.3', 'an empty one nearest to us'],
    ['198.51.100.7/8', '10.1.2.3', 'a network'],
  ])('behind a trusted proxy is told by X-Forwarded-For %j: %s, for %s', (forwarded, key) => {
    expect(keyOf(PROXIES, '10.1.2.3', forwarded)).toBe(key)
  })

  it('is one for any header, and short', () => {
    fc.assert(
      fc.property(
        fc.oneof(fc.string(), fc.ipV4(), fc.ipV6(), fc.array(fc.ipV6()).map(String)),
        (forwarded) => {
          expect(keyOf(PROXIES, '10.1.2.3', forwarded)).toMatch(
            /^(\d+\.\d+\.\d+\.\d+|[0-9a-f:]{7,19}::\/64)$/,
          )
        },
      ),
      { numRuns: 2_000 },
    )
  })
})
