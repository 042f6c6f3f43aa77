import { once } from 'node:events'
import { expect, test } from 'vitest'
import type { Client } from '../../client/node.ts'
import { connect } from '../../client/node.ts'
import { CLIENTS } from '../support/built.ts'
import { startHubProcess, type HubProcess } from '../support/hub-process.ts'
import { newStore, startMesh } from '../support/hubs.ts'
import { startNode } from '../support/run.ts'

/** PROTOCOL.md section 6: a hub that is dead is noticed within 5 s. */
const DEAD_HUB_MS = 5_000

const join = (hub: { readonly url: string }, name: string): Promise<Client> =>
  connect({ url: hub.url, id: name, name, capabilities: ['test'] })

/** Two hubs in processes of their own, on one Redis. */
async function startProcesses(): Promise<readonly [HubProcess, HubProcess]> {
  const { redisUrl = '', keyPrefix = '' } = await newStore('redis')
  const flags = { '--redis-url': redisUrl, '--key-prefix': keyPrefix }
  return Promise.all([startHubProcess(flags), startHubProcess(flags)])
}

/** How a stream that never ends breaks off, and how long after `fault` began. */
async function breakOff(stream: AsyncIterable<unknown>, fault: () => Promise<void>) {
  const chunks = stream[Symbol.asyncIterator]()
  for (let i = 0; i < 100; i++) await chunks.next()
  const at = performance.now()
  await fault()
  try {
    while ((await chunks.next()).done !== true);
  } catch (error) {
    return { error, ms: performance.now() - at }
  }
  throw new Error('the stream ended as if it were complete')
}

async function* endless(): AsyncGenerator<number, void> {
  for (let i = 0; ; i++) {
    yield i
    // As fast as tokens come, in reality; the stream must break off though chunks are on their way.
    if (i % 10 === 0) await new Promise((resolve) => setTimeout(resolve, 5))
  }
}

test('an answer whose process is killed breaks off with peer_gone at once, over two hubs', async () => {
  await using mesh = await startMesh('redis', 2)
  await using asker = await join(mesh.hub(0), 'asker')
  const script = `import { connect } from '${CLIENTS.node}'
    const client = await connect({ url: '${mesh.hub(1).url}', id: 'answerer', name: 'answerer', capabilities: ['test'] })
    ${endless.toString()}
    client.onMessage('query', () => endless())
    console.log('ready')`
  await using answerer = startNode(['--input-type=module', '--eval', script])
  await once(answerer.child.stdout, 'data')
  const { error, ms } = await breakOff(asker.requestStream('answerer', null), async () => {
    answerer.child.kill('SIGKILL')
  })
  expect(error).toMatchObject({ name: 'StreamError', code: 'peer_gone' })
  expect(ms).toBeLessThan(1_000)
})

test("an answer whose answerer's hub is killed breaks off with peer_gone within 5 s", async () => {
  const [near, far] = await startProcesses()
  await using _near = near
  await using _far = far
  await using asker = await join(near, 'asker')
  await using answerer = await join(far, 'answerer')
  answerer.onMessage('query', () => endless())
  const { error, ms } = await breakOff(asker.requestStream('answerer', null), () => far.kill())
  expect(error).toMatchObject({ name: 'StreamError', code: 'peer_gone' })
  expect(ms).toBeLessThan(DEAD_HUB_MS)
})

test("a handler is aborted within 5 s where the asker's hub is killed, and the asker's loop throws at once", async () => {
  const [near, far] = await startProcesses()
  await using _near = near
  await using _far = far
  await using asker = await join(near, 'asker')
  await using answerer = await join(far, 'answerer')
  let aborted: (reason: unknown) => void = () => undefined
  const reason = new Promise((resolve) => (aborted = resolve))
  answerer.onMessage('query', (_message, { signal }) => {
    signal.addEventListener('abort', () => aborted(signal.reason))
    return endless()
  })
  const { error, ms } = await breakOff(asker.requestStream('answerer', null), () => near.kill())
  expect(error).toMatchObject({ name: 'StreamError', code: 'peer_gone' })
  expect(ms).toBeLessThan(1_000)
  const at = performance.now()
  expect(await reason).toMatchObject({ name: 'StreamError', code: 'peer_gone' })
  expect(performance.now() - at).toBeLessThan(DEAD_HUB_MS)
})
