import { describe, expect, test } from 'vitest'
import { connectObserver } from '../support/agent.ts'
import { CORES, startTestHub } from '../support/hubs.ts'
import { brief, list, update } from '../support/mirror.ts'
import { discoverAll, join, PLACES, seen, startSpan } from '../support/talk.ts'

describe.each(PLACES)('update, on %s with %i hub(s)', (core, hubs) => {
  test('replaces each field given, clears by "", [] and {}, and leaves the others and those that are null', async () => {
    await using mesh = await startSpan(core, hubs)
    const before = {
      version: '1.0.0',
      profiles: ['coder'],
      groups: ['eu'],
      address: 'here:1',
      metadata: { a: '1', b: '2' },
      concurrency: 4,
    }
    await using alice = await join(mesh.near, 'alice', before)
    const nulls = {
      capabilities: null,
      version: null,
      profiles: null,
      groups: null,
      address: null,
      metadata: null,
      concurrency: null,
      status: null,
      metrics: null,
    }
    expect(await update(alice, nulls)).toMatchObject(before)
    expect(
      await update(alice, { metadata: { c: '3' }, capabilities: ['vision', 'audio', 'vision'] }),
    ).toMatchObject({
      ...before,
      metadata: { c: '3' },
      capabilities: ['vision', 'audio'],
    })
    const cleared = { version: '', profiles: [], groups: [], address: '', metadata: {} }
    const info = await update(alice, cleared)
    expect(info).toMatchObject({
      version: null,
      profiles: [],
      groups: [],
      address: null,
      concurrency: 4,
      name: 'alice-name',
    })
    expect(info.metadata).toEqual({})
    expect(await seen(mesh.far, 'alice', ({ address }) => address === null)).toEqual({
      ...info,
      lastHeartbeat: expect.any(String),
    })
  })

  test('of fields and status makes two events; of nothing new, none', async () => {
    await using mesh = await startSpan(core, hubs)
    await using alice = await join(mesh.near, 'alice')
    await seen(mesh.far, 'alice')
    await using watcher = await connectObserver(mesh.far)
    const { revision } = await list(watcher)
    const info = await update(alice, { groups: ['eu'], status: 'degraded', statusReason: 'hot' })
    const told = [await watcher.next('event'), await watcher.next('event')]
    expect(told.map(brief)).toEqual(['updated alice', 'status_changed alice online>degraded'])
    expect(told.map((event) => event.revision)).toEqual([revision + 1, revision + 2])
    expect(info.revision).toBe(revision + 2)
    await update(alice, { status: 'degraded' })
    await update(alice, { statusReason: 'hotter' })
    const reason = await watcher.next('event')
    expect(reason).toMatchObject({
      event: 'agent.updated',
      revision: revision + 3,
      agent: { status: 'degraded', statusReason: 'hotter' },
    })
    expect(await update(alice, { statusReason: '' })).toMatchObject({ statusReason: null })
  })

  test('of metrics alone makes no revision and is seen in discover', async () => {
    await using mesh = await startSpan(core, hubs)
    await using alice = await join(mesh.near, 'alice')
    const { revision } = alice.welcome
    expect(await update(alice, { metrics: { load: 0.9 } })).toMatchObject({ metrics: { load: 0.9 } })
    expect((await discoverAll(alice))[0]).toMatchObject({ metrics: { load: 0.9 } })
    expect((await list(alice)).revision).toBe(revision)
  })
})

describe.each(CORES)('an update against a rule, on %s', (core) => {
  test('is refused with the code of the rule, and changes nothing', async () => {
    await using hub = await startTestHub(core)
    await using alice = await join(hub, 'alice')
    const { revision } = alice.welcome
    const wrong: readonly (readonly [fields: object, code: string])[] = [
      [{ capabilities: [] }, 'invalid_capability'],
      [{ capabilities: ['NLP'] }, 'invalid_capability'],
      [{ version: 'one' }, 'invalid_agent'],
      [{ groups: [''] }, 'invalid_agent'],
      [{ concurrency: 0 }, 'invalid_agent'],
      [{ status: 'offline' }, 'bad_frame'],
      [{ metrics: { load: 'high' } }, 'bad_frame'],
      [{ groups: 'eu' }, 'bad_frame'],
    ]
    for (const [fields, code] of wrong.slice(0, 4)) {
      expect(await alice.refusal({ type: 'update', ...fields }), JSON.stringify(fields)).toMatchObject({
        code,
        retryable: false,
      })
    }
    await using observer = await connectObserver(hub)
    expect(await observer.refusal({ type: 'update', groups: ['eu'] })).toMatchObject({ code: 'forbidden' })
    for (const [fields, code] of wrong.slice(4)) {
      expect(await alice.refusal({ type: 'update', ...fields }), JSON.stringify(fields)).toMatchObject({
        code,
        retryable: false,
      })
    }
    expect((await list(observer)).revision).toBe(revision)
  })

  test('too many a second are answered later, all of them, and what was sent behind them waits too', async () => {
    await using hub = await startTestHub(core)
    await using alice = await join(hub, 'alice')
    const at = performance.now()
    const updates = Array.from({ length: 8 }, (_, i) => update(alice, { metadata: { i: String(i) } }))
    const behind = discoverAll(alice)
    const infos = await Promise.all(updates)
    expect(performance.now() - at).toBeGreaterThan(500)
    // An answer shows the agent as it is then, its own update or a later one.
    for (const [i, { metadata }] of infos.entries()) expect(Number(metadata.i)).toBeGreaterThanOrEqual(i)
    // It waited with them: the last one is at most under way.
    expect(Number((await behind)[0]?.metadata.i)).toBeGreaterThanOrEqual(6)
  })
})
