// Cases are run by testLines, each in a test of its own.
/* oxlint-disable vitest/no-standalone-expect */
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, expect } from 'vitest'
import { type HubServer, type Settings, startHub } from '../../src/server.ts'
import { bearer, joinAs, withSecret } from '../support/authentication.ts'
import { startTestHub } from '../support/hubs.ts'
import { SECRET, tokenFor } from '../support/tokens.ts'
import { testLines } from './model.ts'
import { allBut, outcomesOf, statusOf, type Trier } from './outcomes.ts'

/** A hub that asks for tokens, with the agent `target` on it. */
let hub: HubServer
let stop: () => Promise<void>

beforeAll(async () => {
  const directory = await mkdtemp(join(tmpdir(), 'meshwire-security-'))
  const jwtSecretFile = join(directory, 'secret')
  await writeFile(jwtSecretFile, SECRET)
  hub = await startTestHub('memory', { jwtSecretFile })
  await joinAs(hub, 'target')
  stop = async () => {
    await hub.close()
    await rm(directory, { recursive: true })
  }
})

afterAll(() => stop())

const call = (method: string, path: string, body?: unknown) => (trier: Trier) =>
  statusOf(hub, trier, method, path, body)

testLines('M', {
  M1: async () => {
    expect(await outcomesOf(call('GET', '/metrics'), { mesh: '*', ns: 'default' }, { ns: '*' })).toEqual([
      '401',
      '403',
      '200',
    ])
    const lacking = { mesh: allBut(['admin'], ['admin:default']), ns: '*' }
    return outcomesOf(call('GET', '/metrics'), lacking, { ns: '*' })
  },
})

const member = (instanceId: string) => ({
  instance_id: instanceId,
  hostname: 'h',
  port: 1,
  capabilities: ['query'],
  agent_profiles: [],
})
const beat = { status: 'healthy', metrics: null }
const message = (target: string | null) => ({ target_instance: target, message_type: 'Query', payload: 1 })

/** Whoever has a token registers `<subject>-member` first, with one that permits everything. */
const ofOwn =
  (attempt: (trier: Trier, id: string) => Promise<string>) =>
  async (trier: Trier): Promise<string> => {
    const id = `${trier.sub}-member`
    const headers = bearer(await tokenFor(trier.sub))
    expect(await statusOf(hub, { headers }, 'POST', '/registry/register', member(id))).toBe('200')
    return attempt(trier, id)
  }

/** What happens to who has no token, to another principal than registered the agent, though everything is permitted to it, and to that one. */
async function ofOwner(attempt: (trier: Trier, id: string) => Promise<string>): Promise<string[]> {
  const outcomes: string[] = []
  for (const who of [null, 'another', 'owner']) {
    const owner = { headers: bearer(await tokenFor('owner')) }
    const id = `owned-${who}`
    expect(await statusOf(hub, owner, 'POST', '/registry/register', member(id))).toBe('200')
    outcomes.push(
      await attempt({ sub: who ?? '', headers: who === null ? null : bearer(await tokenFor(who)) }, id),
    )
  }
  return outcomes
}

testLines('H', {
  async H1() {
    const register = (trier: Trier) =>
      statusOf(hub, trier, 'POST', '/registry/register', member(`${trier.sub}-new`))
    for (const verb of ['register', 'serve'] as const)
      expect(await outcomesOf(register, { mesh: allBut([verb]) })).toEqual(['401', '403', '200'])
    return outcomesOf(register, { ns: 'other' })
  },
  H2: () => outcomesOf(call('GET', '/registry/agents'), { mesh: allBut(['discover']) }),
  H3: () =>
    outcomesOf(
      ofOwn((trier, id) => statusOf(hub, trier, 'POST', `/registry/heartbeat/${id}`, beat)),
      { mesh: allBut(['register']) },
    ),
  H4: () =>
    outcomesOf(
      ofOwn((trier, id) => statusOf(hub, trier, 'POST', `/messages/send/${id}`, message('target'))),
      { mesh: allBut(['send'], ['send:name=*', 'send:somebody']) },
    ),
  H5: () =>
    outcomesOf(
      ofOwn((trier, id) => statusOf(hub, trier, 'POST', `/messages/send/${id}`, message(null))),
      { mesh: allBut(['broadcast'], ['broadcast:group=*', 'broadcast:capability=*']) },
    ),
  H6: () => ofOwner((trier, id) => statusOf(hub, trier, 'GET', `/messages/${id}`)),
  async H7() {
    const acknowledge = (path: (id: string) => string) =>
      ofOwner((trier, id) => statusOf(hub, trier, 'POST', path(id), { message_ids: ['x'] }))
    const other = await acknowledge((id) => `/messages/${id}/ack`)
    expect(await acknowledge((id) => `/messages/ack/${id}`)).toEqual(other)
    return other
  },
  H8: () => ofOwner((trier, id) => statusOf(hub, trier, 'DELETE', `/registry/deregister/${id}`)),
  H9: () => ofOwner((trier, id) => statusOf(hub, trier, 'POST', `/messages/send/${id}`, message('target'))),
})

async function opens(settings: Partial<Settings>): Promise<string> {
  try {
    const started = await startHub({ port: 0, mxpUdpPort: 0, logLevel: 'silent', ...settings })
    const outcome = started.mxpUdpPort === null ? 'closed' : 'open'
    await started.close()
    return outcome
  } catch (error) {
    expect((error as Error).message).toContain('--insecure-open')
    return 'refused'
  }
}

testLines('U', {
  async U1() {
    const secret = await withSecret()
    return [await opens(secret), await opens({ ...secret, insecureOpen: true })]
  },
  async U2() {
    const wide = { mxpUdpHost: '0.0.0.0' }
    return [await opens(wide), await opens({ ...wide, insecureOpen: true })]
  },
})
