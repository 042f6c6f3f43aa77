import { randomUUID } from 'node:crypto'
import { createSocket } from 'node:dgram'
import { once } from 'node:events'
import { expect, it } from 'vitest'
import { COMMAND } from '../support/built.ts'
import { newStore } from '../support/hubs.ts'
import { MxpUdp } from '../support/mxp-udp.ts'
import { pollUntil } from '../support/poll-until.ts'
import { startNode } from '../support/run.ts'

/** A UDP port that nobody has now. */
async function freePort(): Promise<number> {
  const socket = createSocket('udp4').bind(0, '127.0.0.1')
  await once(socket, 'listening')
  const { port } = socket.address()
  socket.close()
  return port
}

it('workers share the port of the MXP registry, and are one registry', { timeout: 30_000 }, async () => {
  const { redisUrl = '', keyPrefix = '' } = await newStore('redis')
  const port = await freePort()
  const start = [
    'start',
    '--port',
    '0',
    '--log-level',
    'silent',
    '--workers',
    '2',
    '--mxp-udp-port',
    String(port),
  ]
  await using primary = startNode([COMMAND, ...start, '--key-prefix', keyPrefix], {
    REDIS_URL: redisUrl,
  })
  await once(primary.child.stdout, 'data')
  for (let i = 0; i < 5; i++) {
    await using udp = await MxpUdp.open({ mxpUdpPort: port })
    const agent = { id: randomUUID(), name: `agent-${i}`, capabilities: ['nlp'], address: '127.0.0.1:9' }
    expect(await udp.ask('AgentRegister', agent)).toMatchObject({ success: true })
    expect(await udp.ask('AgentHeartbeat', { agent_id: agent.id })).toMatchObject({ needs_register: false })
    await pollUntil(
      async () => (await udp.ask('AgentDiscover', { capability: 'nlp' })).count === i + 1,
      5_000,
      'not every agent is found',
    )
  }
  const exit = once(primary.child, 'exit')
  primary.child.kill('SIGTERM')
  expect(await exit).toEqual([0, null])
})
