import { describe, expect, it } from 'vitest'
import { bearer, joinAs, withSecret } from '../support/authentication.ts'
import { CORES, startTestHub } from '../support/hubs.ts'
import { MxpSocket } from '../support/mxp-agent.ts'
import { MxpUdp } from '../support/mxp-udp.ts'
import { tokenFor, type TokenFields } from '../support/tokens.ts'

/** A connection whose token is of `sub`, not registered yet. */
const knock = async (hub: { readonly url: string }, sub: string, fields: TokenFields = {}) =>
  MxpSocket.open(hub.url, ['mxp.v1'], bearer(await tokenFor(sub, fields)))

const agent = (id: string, more: object = {}) => ({ id, name: id, capabilities: ['nlp'], ...more })

describe.each(CORES)('the MXP gateway with authentication on %s', (core) => {
  it('registers nobody without a token, says so, and closes', async () => {
    await using hub = await startTestHub(core, await withSecret())
    await using socket = await MxpSocket.open(hub)
    expect(await socket.ask('AgentRegister', agent('ann'))).toMatchObject({
      type: 'Error',
      body: { code: 'UNAUTHORIZED' },
    })
    expect(await socket.closed).toMatchObject({ code: 4401 })
    await expect(MxpSocket.open(hub.url, ['mxp.v1'], bearer('nonsense'))).rejects.toThrow('401')
  })

  it('registers the principal’s own ids, with what it may do, and refuses others with an Error', async () => {
    await using hub = await startTestHub(core, await withSecret())
    const mesh = ['register', 'serve:nlp']
    const refused = [
      [agent('ben'), 'agent id'],
      [agent('ann', { capabilities: ['nlp', 'ocr'] }), 'serve:ocr'],
      [agent('ann', { namespace: 'staging' }), 'namespace'],
      [agent('ann', { leaderEligible: true }), 'lead'],
    ] as const
    await using ann = await knock(hub, 'ann', { mesh })
    for (const [payload, reason] of refused) {
      const { type, body } = await ann.ask('AgentRegister', payload)
      expect([type, body]).toMatchObject(['Error', { code: 'FORBIDDEN' }])
      expect(body.error).toContain(reason)
    }
    expect((await ann.ask('AgentRegister', agent('ann:1'))).type).toBe('Response')
    await using ben = await knock(hub, 'ben', { mesh: ['serve'] })
    expect((await ben.ask('AgentRegister', agent('ben'))).body).toMatchObject({ code: 'FORBIDDEN' })
  })

  it('judges each message of a registered agent', async () => {
    await using hub = await startTestHub(core, await withSecret())
    await using target = await joinAs(hub, 'target')
    await using ann = await knock(hub, 'ann', { mesh: ['register', 'serve:nlp', 'send:target'] })
    await ann.register(agent('ann'))
    const forbidden = [
      ['AgentDiscover', { capability: 'nlp' }, 'discover'],
      ['Call', { to: { agent: 'other' }, payload: 1 }, 'send:other'],
      ['Event', { to: { all: true }, payload: 1 }, 'broadcast'],
      ['AgentRegister', agent('ann', { capabilities: ['ocr'] }), 'serve:ocr'],
      ['StreamOpen', { stream: 's1', to: { agent: 'other' } }, 'send:other'],
      ['AgentRegister', agent('ann:2'), 'connection'],
    ] as const
    for (const [type, payload, reason] of forbidden) {
      const answer = await ann.ask(type, payload)
      expect([type, answer.type, answer.body]).toMatchObject([type, 'Error', { code: 'FORBIDDEN' }])
      expect(answer.body.error).toContain(reason)
    }
    ann.send('Call', { to: { agent: 'target' }, payload: 'hello' })
    expect(await target.next('message')).toMatchObject({ from: 'ann', payload: 'hello' })
  })

  it('takes an id over from a session of the same principal, and from no other', async () => {
    await using hub = await startTestHub(core, await withSecret())
    await using first = await knock(hub, 'ann')
    await first.register(agent('ann:x'))
    await using other = await knock(hub, 'ann:x')
    expect((await other.ask('AgentRegister', agent('ann:x'))).body).toMatchObject({ code: 'FORBIDDEN' })
    await using second = await knock(hub, 'ann')
    await second.register(agent('ann:x'))
    expect(await first.closed).toMatchObject({ code: 4409 })
  })

  it('leaves agents with a connection alone at the registry over UDP, which asks for no token', async () => {
    const settings = { ...(await withSecret()), mxpUdpPort: 0, insecureOpen: true }
    await using hub = await startTestHub(core, settings)
    await using ann = await knock(hub, 'ann')
    await ann.register(agent('ann'))
    await using udp = await MxpUdp.open(hub)
    const registered = await udp.ask('AgentRegister', agent('ann', { address: '127.0.0.1:1', metadata: {} }))
    expect(registered).toMatchObject({ type: 'Error', code: 'AGENT_ID_EXISTS' })
    expect(await udp.ask('AgentHeartbeat', { agent_id: 'ann' })).toMatchObject({ needs_register: true })
    // The other doors ask for one all the same.
    await expect(MxpSocket.open(hub.url, ['mxp.v1'], bearer('nonsense'))).rejects.toThrow('401')
  })
})
