import { afterAll, afterEach, beforeAll, expect } from 'vitest'
import { type HubServer } from '../../src/server.ts'
import { connectAgent, type TestAgent } from './agent.ts'
import { type CoreKind, startTestHub } from './hubs.ts'
import { sendFrame } from './talk.ts'

async function checkUndisturbed(hub: HubServer, bystander: TestAgent, payload: number): Promise<void> {
  await bystander.request(sendFrame({ agent: bystander.id }, payload))
  const message = await bystander.next('message')
  expect(message.payload).toBe(payload)
  bystander.send({ type: 'ack', ids: [message.id] })
  expect(bystander.waiting).toEqual([])
  await using newcomer = await connectAgent(hub, { ephemeral: true })
  await newcomer.roundTrip()
  expect(Object.keys(Object.prototype)).toEqual([])
  expect(({} as Record<string, unknown>).polluted).toBeUndefined()
}

/**
 * For a `describe`: a hub to attack, and a bystander on it. After each test the hub takes new agents, the bystander gets its
 * messages and nothing else, and no prototype has changed.
 */
export function hubToAttack(core: CoreKind): { readonly hub: HubServer } {
  let hub: HubServer
  /** Connected all the time; after each test it still is, and gets what it is sent. */
  let bystander: TestAgent
  let number = 0

  beforeAll(async () => {
    hub = await startTestHub(core, { ratePerSecond: 0 })
    bystander = await connectAgent(hub, { id: 'bystander', namespace: 'quiet' })
  })

  afterEach(async () => {
    number += 1
    await checkUndisturbed(hub, bystander, number)
  })

  afterAll(async () => {
    await bystander.cut()
    await hub.close()
  })

  return {
    get hub() {
      return hub
    },
  }
}
