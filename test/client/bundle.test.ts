import { createHash } from 'node:crypto'
import { readFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { gzipSync } from 'node:zlib'
import { build } from 'esbuild'
import { describe, expect, it } from 'vitest'
import { WebSocket } from 'ws'
import type { ReceivedMessage, Watch } from '../../client/api.ts'
import type * as client from '../../client/node.ts'
import { outboxOn } from '../../client/outbox.ts'
import { startTestHub } from '../support/hubs.ts'
import { MemoryStore } from '../support/memory-store.ts'

const dist = (path: string): string => fileURLToPath(new URL(`../../dist/${path}`, import.meta.url))
const bundle = readFileSync(dist('client.min.js'), 'utf8')
const parts = readFileSync(dist('client-parts.min.js'), 'utf8')

/** Bytes of each file, compressed as servers do at best. */
const MAX_BYTES = 10_240
const MAX_PARTS_BYTES = 8_600

const packed = (text: string): number => gzipSync(text, { level: 9 }).length

describe('the bundle for browsers', () => {
  it(`is at most ${MAX_BYTES} bytes with gzip -9, its parts ${MAX_PARTS_BYTES}`, () => {
    console.log(`client.min.js ${packed(bundle)} bytes, client-parts.min.js ${packed(parts)}`)
    expect(packed(bundle)).toBeLessThanOrEqual(MAX_BYTES)
    expect(packed(parts)).toBeLessThanOrEqual(MAX_PARTS_BYTES)
  })

  it('imports nothing but its parts, by a URL that changes with them, which import nothing', () => {
    const version = createHash('sha256').update(parts).digest('base64url').slice(0, 8)
    expect(bundle.match(/\bimport\b./g)).toEqual(['import('])
    expect(bundle).toContain(`./client-parts.min.js?${version}`)
    expect(parts).not.toMatch(/\bimport\b/)
  })

  it('exports what the client exports', async () => {
    const [small, whole] = await Promise.all(
      ['client.min.js', 'client/index.js'].map((path) => import(dist(path)) as Promise<object>),
    )
    expect(Object.keys(small ?? {}).toSorted()).toEqual(Object.keys(whole ?? {}).toSorted())
  })

  it('is left out but for what is used', async () => {
    const { outputFiles } = await build({
      stdin: {
        contents: `import { MeshError } from './client/index.js'; console.log(MeshError)`,
        resolveDir: dist(''),
      },
      bundle: true,
      minify: true,
      format: 'esm',
      write: false,
    })
    expect(outputFiles[0]?.contents.length).toBeLessThan(1000)
  })

  it('sends, asks, watches, works, streams and keeps sends on a hub, over the WebSocket of its platform', async () => {
    Object.assign(globalThis, { WebSocket })
    const { connect, Nack, StreamError } = (await import(dist('client.min.js'))) as typeof client
    await using hub = await startTestHub('memory')
    const url = `ws://127.0.0.1:${new URL(hub.url).port}/mesh`
    await using asker = await connect({ url, name: 'asker', capabilities: ['ask'] })
    await using worker = await connect({
      url,
      name: 'worker',
      capabilities: ['work'],
      concurrency: 2,
      metadata: { room: 'b' },
    })

    await using watch: Watch = asker.watch({ capabilities: { any: ['work'] } })
    await watch.ready
    expect([...watch.agents.values()]).toMatchObject([{ name: 'worker', metadata: { room: 'b' } }])
    expect(await asker.discover({ name: 'worker' })).toMatchObject({
      agents: [{ concurrency: 2 }],
      cursor: null,
    })

    worker.onMessage('query', async function* ({ payload }: ReceivedMessage<number>) {
      for (let n = 0; n < payload; n++) yield n
      if (payload > 100) throw Object.assign(new Error('too many'), { code: 'many' })
    })
    const chunks: unknown[] = []
    for await (const chunk of asker.requestStream({ name: 'worker' }, 100, { window: 8 })) chunks.push(chunk)
    expect(chunks).toEqual(Array.from({ length: 100 }, (_, n) => n))
    const failing = (async () => {
      for await (const chunk of asker.requestStream({ name: 'worker' }, 101)) chunks.push(chunk)
    })()
    const failure: unknown = await failing.catch((error: unknown) => error)
    expect(failure).toBeInstanceOf(StreamError)
    expect(failure).toMatchObject({ name: 'StreamError', code: 'many', message: 'too many' })

    asker.onMessage('query', ({ payload, reply }) => void reply({ echo: payload }))
    expect(await worker.request({ name: 'asker' }, 'hi')).toMatchObject({
      messageType: 'response',
      payload: { echo: 'hi' },
    })

    worker.onWork('work', ({ attempt }) => {
      if (attempt === 1) throw new Nack('not yet', { delayMs: 0 })
    })
    const done = await asker.send({ capability: 'work' }, null, { type: 'task_delegation', receipt: true })
    expect(await done.settled).toMatchObject({ status: 'acked', agentId: worker.id })

    const refusal: unknown = await asker.send('nobody', 1).catch((error: unknown) => error)
    expect(refusal).toMatchObject({ name: 'MeshError', code: 'unknown_target', retryable: false })
    const late: unknown = await worker
      .request({ name: 'asker' }, 1, { type: 'silence', timeoutMs: 50 })
      .catch((error: unknown) => error)
    expect(late).toMatchObject({ name: 'TimeoutError' })
    expect(await worker.update({ status: 'degraded', statusReason: 'tired' })).toMatchObject({
      status: 'degraded',
    })

    const store = new MemoryStore()
    const till = { url, id: 'till', name: 'till', capabilities: ['sell'], outbox: outboxOn(store) }
    await using keeper = await connect(till)
    const kept = keeper.send({ name: 'worker' }, 'kept', { type: 'task_result' })
    expect(await kept).toMatchObject({ recipients: 1 })
    expect(store.writes).toBeGreaterThan(0)

    await worker.close()
    expect(worker.state).toEqual({ type: 'closed', error: null })
  })
})
