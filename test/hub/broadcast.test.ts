import { describe, expect, test } from 'vitest'
import { join, PLACES, pushed, read, reconnect, send, startSpan } from '../support/talk.ts'

describe.each(PLACES)('a broadcast, on %s with %i hub(s)', (core, hubs) => {
  test('to all reaches every other registered agent, on every hub', async () => {
    await using mesh = await startSpan(core, hubs)
    await using alice = await join(mesh.near, 'alice')
    await using bob = await join(mesh.far, 'bob', { capabilities: ['vision'] })
    await using carol = await join(mesh.near, 'carol')
    const { id, recipients } = await send(alice, { all: true }, 'news')
    expect(recipients).toBe(2)
    for (const agent of [bob, carol]) {
      const message = await agent.next('message')
      expect(message).toMatchObject({ id, from: 'alice', via: 'broadcast', payload: 'news', attempt: 1 })
      expect(message).not.toHaveProperty('broadcast')
    }
    expect(await pushed(bob, alice)).toEqual([])
  })

  test('to a group reaches its other members', async () => {
    await using mesh = await startSpan(core, hubs)
    await using alice = await join(mesh.near, 'alice', { groups: ['eu'] })
    await using bob = await join(mesh.far, 'bob', { groups: ['us', 'eu'] })
    await using carol = await join(mesh.far, 'carol', { groups: ['us'] })
    const { id, recipients } = await send(alice, { group: 'eu' }, 'news')
    expect(recipients).toBe(1)
    expect(await bob.next('message')).toMatchObject({ id, via: 'group', group: 'eu', payload: 'news' })
    expect(await pushed(alice, carol)).toEqual([])
    expect(await pushed(bob, alice)).toEqual([])
  })

  test('to a capability with mode all reaches everyone else who has it', async () => {
    await using mesh = await startSpan(core, hubs)
    await using alice = await join(mesh.near, 'alice', { capabilities: ['nlp'] })
    await using bob = await join(mesh.far, 'bob', { capabilities: ['vision', 'nlp'] })
    await using carol = await join(mesh.far, 'carol', { capabilities: ['vision'] })
    const { id, recipients } = await send(alice, { capability: 'nlp', mode: 'all' }, 'news')
    expect(recipients).toBe(1)
    expect(await bob.next('message')).toMatchObject({
      id,
      via: 'capability',
      capability: 'nlp',
      payload: 'news',
    })
    expect(await pushed(alice, carol)).toEqual([])
    expect(await pushed(bob, alice)).toEqual([])
  })

  test.each([[{ all: true }], [{ group: 'eu' }], [{ capability: 'nlp', mode: 'all' }]])(
    'to %j with echo reaches the sender too and counts it',
    async (to) => {
      await using mesh = await startSpan(core, hubs)
      await using alice = await join(mesh.near, 'alice', { groups: ['eu'] })
      await using bob = await join(mesh.far, 'bob', { groups: ['eu'] })
      const { id, recipients } = await send(alice, to, 'news', { echo: true })
      expect(recipients).toBe(2)
      for (const agent of [alice, bob])
        expect(await agent.next('message')).toMatchObject({ id, from: 'alice' })
    },
  )

  test('with echo to a group that the sender is not in does not reach the sender', async () => {
    await using mesh = await startSpan(core, hubs)
    await using alice = await join(mesh.near, 'alice')
    await using bob = await join(mesh.far, 'bob', { groups: ['eu'] })
    expect(await send(alice, { group: 'eu' }, 'news', { echo: true })).toMatchObject({ recipients: 1 })
    expect(await bob.next('message')).toMatchObject({ payload: 'news' })
    expect(await pushed(bob, alice)).toEqual([])
  })

  test('that is for nobody is ok with no recipients', async () => {
    await using mesh = await startSpan(core, hubs)
    await using alice = await join(mesh.near, 'alice')
    for (const to of [{ all: true }, { group: 'nobody' }, { capability: 'nobody', mode: 'all' }]) {
      expect(await send(alice, to, 'news')).toEqual({ id: expect.any(String), recipients: 0 })
    }
  })

  test('is owed to who was registered at that moment: also who is offline, not who comes later', async () => {
    await using mesh = await startSpan(core, hubs)
    await using alice = await join(mesh.near, 'alice')
    const bob = await join(mesh.far, 'bob', { groups: ['eu'] })
    await bob.request({ type: 'bye', keep: true })
    expect(await send(alice, { all: true }, 'to all')).toMatchObject({ recipients: 1 })
    expect(await send(alice, { group: 'eu' }, 'to eu')).toMatchObject({ recipients: 1 })
    await using carol = await join(mesh.far, 'carol', { groups: ['eu'] })
    expect(await pushed(alice, carol)).toEqual([])
    await using back = await reconnect(mesh.far, bob, { groups: [] })
    expect(await read(back, 2)).toEqual(['to all', 'to eu'])
  })

  test('is not owed to an id that has registered anew since', async () => {
    await using mesh = await startSpan(core, hubs)
    await using alice = await join(mesh.near, 'alice')
    const bob = await join(mesh.far, 'bob')
    await send(alice, { all: true }, 'old')
    await bob.request({ type: 'bye' })
    await using again = await join(mesh.far, 'bob')
    await send(alice, { all: true }, 'new')
    expect(await read(again, 1)).toEqual(['new'])
  })

  test('follows the groups and capabilities as they are now', async () => {
    await using mesh = await startSpan(core, hubs)
    await using alice = await join(mesh.near, 'alice')
    await using bob = await join(mesh.far, 'bob')
    await bob.request({ type: 'update', groups: ['eu'], capabilities: ['vision'] })
    expect(await send(alice, { group: 'eu' }, 1)).toMatchObject({ recipients: 1 })
    expect(await send(alice, { capability: 'vision', mode: 'all' }, 2)).toMatchObject({ recipients: 1 })
    expect(await send(alice, { capability: 'nlp', mode: 'all' }, 3)).toMatchObject({ recipients: 0 })
    expect(await read(bob, 2)).toEqual([1, 2])
  })

  test('and another of the same sender arrive in order, long ones too', async () => {
    await using mesh = await startSpan(core, hubs)
    await using alice = await join(mesh.near, 'alice', { groups: ['eu'] })
    await using bob = await join(mesh.far, 'bob', { groups: ['eu'] })
    const targets = [{ all: true }, { group: 'eu' }, { capability: 'nlp', mode: 'all' }]
    const payloads = Array.from({ length: 30 }, (_, i) => `${i}${'x'.repeat(i % 10 === 0 ? 100_000 : 0)}`)
    await Promise.all(payloads.map((payload, i) => send(alice, targets[i % 3] ?? {}, payload)))
    expect(await read(bob, 30)).toEqual(payloads)
  })
})
