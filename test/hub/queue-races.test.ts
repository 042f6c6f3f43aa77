import { describe, expect, test } from 'vitest'
import { MeshError } from '../../protocol/errors.ts'
import type { Queues, Task } from '../../src/core/queues.ts'
import type { Registry } from '../../src/core/registry.ts'
import type { Core } from '../../src/server.ts'
import { CORES, startMesh } from '../support/hubs.ts'
import { Gaps, Gate, withQueues } from '../support/queues.ts'
import { ack, asker, join, NLP, pushed, receive, reconnect, seen, send, sendAll } from '../support/talk.ts'

const OCR = { capability: 'ocr' }
const gone = (): MeshError => new MeshError('store_unavailable', 'the store does not answer')

describe.each(CORES)('work, on %s, where answers and signals overtake each other', (kind) => {
  test('goes to who got room in its window while a claim for another was under way', async () => {
    const gate = new Gate()
    await using mesh = await startMesh(kind, 1, {}, (core) =>
      withQueues(core, { claim: (...args) => gate.pass(core.queues.claim(...args)) }),
    )
    await using alice = await join(mesh.hub(0), 'alice', asker)
    await using bob = await join(mesh.hub(0), 'bob')
    await send(alice, NLP, 'work')
    const work = await bob.next('message')
    await using carol = await join(mesh.hub(0), 'carol', { window: 1 })
    await send(alice, 'carol', 'talk')
    const talk = await carol.next('message')
    gate.close()
    bob.send({ type: 'nack', id: work.id })
    // Bob has lost it, and carol has no room: nobody gets it.
    await gate.full()
    ack(carol, talk)
    await carol.roundTrip()
    gate.open()
    expect(await carol.next('message', () => true, 2_000)).toMatchObject({ id: work.id, attempt: 2 })
  })

  test('goes to who lost it when the others left while a claim for it was under way', async () => {
    const gate = new Gate()
    await using mesh = await startMesh(kind, 2, {}, (core, index) =>
      index === 0 ? withQueues(core, { claim: (...args) => gate.pass(core.queues.claim(...args)) }) : core,
    )
    await using alice = await join(mesh.hub(0), 'alice', asker)
    await using bob = await join(mesh.hub(0), 'bob')
    await send(alice, NLP, 'work')
    const work = await bob.next('message')
    await using carol = await join(mesh.hub(1), 'carol', { window: 1 })
    await seen(mesh.hub(0), 'carol')
    await send(alice, 'carol', 'talk')
    await carol.next('message')
    gate.close()
    bob.send({ type: 'nack', id: work.id })
    await gate.full()
    await carol.cut()
    await seen(mesh.hub(0), 'carol', ({ connected }) => !connected)
    gate.open()
    expect(await bob.next('message', () => true, 2_000)).toMatchObject({ id: work.id, attempt: 2 })
  })

  test('that is settled while the hub asks what its holder has is not pushed again', async () => {
    const gate = new Gate()
    const gaps = new Gaps()
    await using mesh = await startMesh(kind, 1, {}, (core) =>
      gaps.wrap(withQueues(core, { held: (...args) => gate.pass(core.queues.held(...args)) })),
    )
    const store = await mesh.store()
    await using alice = await join(mesh.hub(0), 'alice', asker)
    await using bob = await join(mesh.hub(0), 'bob')
    await send(alice, NLP, 'work')
    const work = await bob.next('message')
    gate.close()
    gaps.tell()
    await gate.full()
    ack(bob, work)
    await expect.poll(() => store.queues.size('default', 'nlp')).toBe(0)
    await bob.roundTrip()
    gate.open()
    expect(await pushed(alice, bob)).toEqual([])
  })

  test('that is claimed while the hub asks what its holder has stays with it', async () => {
    const gate = new Gate()
    const gaps = new Gaps()
    await using mesh = await startMesh(kind, 1, {}, (core) =>
      gaps.wrap(withQueues(core, { held: (...args) => gate.pass(core.queues.held(...args)) })),
    )
    await using alice = await join(mesh.hub(0), 'alice', asker)
    await using bob = await join(mesh.hub(0), 'bob')
    await bob.roundTrip()
    gate.close()
    gaps.tell()
    await gate.full()
    await send(alice, NLP, 'work')
    await bob.next('message')
    gate.open()
    expect(await pushed(alice, bob)).toEqual([])
    expect(bob.waitingOf('revoked')).toEqual([])
  })

  test('that its holder loses while the hub asks what it has is not pushed to it again', async () => {
    const gate = new Gate()
    const gaps = new Gaps()
    await using mesh = await startMesh(kind, 1, { ackTimeoutMs: 300 }, (core) =>
      gaps.wrap(withQueues(core, { held: (...args) => gate.pass(core.queues.held(...args)) })),
    )
    await using alice = await join(mesh.hub(0), 'alice', asker)
    await using bob = await join(mesh.hub(0), 'bob')
    await send(alice, NLP, 'work')
    const work = await bob.next('message')
    await using carol = await join(mesh.hub(0), 'carol')
    gate.close()
    gaps.tell()
    await gate.full()
    await bob.next('revoked')
    ack(carol, await carol.next('message'))
    gate.open()
    expect(await pushed(alice, bob)).toEqual([])
    expect(work.attempt).toBe(1)
  })

  test('that was taken away before the answer to its claim came is pushed once, as new work', async () => {
    const gate = new Gate()
    const heard: string[] = []
    const wrap = (core: Core): Core => {
      const claim = async (...args: Parameters<Queues['claim']>): ReturnType<Queues['claim']> => {
        const answer = await core.queues.claim(...args)
        return answer.tasks.length > 0 ? gate.pass(Promise.resolve(answer)) : answer
      }
      // What the sweep would find is not what this is about.
      const held = async (): Promise<readonly Task[]> => Promise.reject(gone())
      return new Gaps().wrap(withQueues(core, { claim, held }), (signal) => {
        heard.push(signal.kind)
        return true
      })
    }
    await using mesh = await startMesh(kind, 1, { ackTimeoutMs: 300 }, wrap)
    const store = await mesh.store()
    await using alice = await join(mesh.hub(0), 'alice', asker)
    await using bob = await join(mesh.hub(0), 'bob')
    gate.close()
    await send(alice, NLP, 'work')
    await gate.full()
    await expect.poll(() => heard).toContain('revoked')
    gate.open()
    const work = await bob.next('message')
    expect(work.attempt).toBe(2)
    ack(bob, work)
    await expect.poll(() => store.queues.size('default', 'nlp')).toBe(0)
    expect(await pushed(alice, bob)).toEqual([])
  })

  test('that an agent holds comes once and after its welcome, though the hub asks for it meanwhile', async () => {
    const gate = new Gate()
    const gaps = new Gaps()
    let deaf = false
    const wrap = (core: Core): Core => {
      const registry = new Proxy(core.registry, {
        get: (target, name) => {
          const value: unknown = Reflect.get(target, name)
          if (name === 'since')
            return (...args: Parameters<Registry['since']>) => gate.pass(core.registry.since(...args))
          return typeof value === 'function' ? (value.bind(target) as unknown) : value
        },
      })
      return gaps.wrap({ ...core, registry }, ({ kind: signal }) => !deaf || signal !== 'event')
    }
    await using mesh = await startMesh(kind, 2, {}, (core, index) => (index === 0 ? wrap(core) : core))
    await using alice = await join(mesh.hub(1), 'alice', asker)
    const bob = await join(mesh.hub(0), 'bob')
    await send(alice, NLP, 'work')
    const work = await bob.next('message')
    await bob.cut()
    await seen(mesh.hub(0), 'bob', ({ connected }) => !connected)
    // Hub 0 misses an event, so the welcome waits until it is read from the store.
    deaf = true
    await using carol = await join(mesh.hub(1), 'carol', asker)
    gate.close()
    const coming = reconnect(mesh.hub(0), bob)
    await gate.full()
    gaps.tell()
    const store = await mesh.store()
    await store.queues.held('default', 'bob')
    await carol.roundTrip()
    deaf = false
    gate.open()
    await using back = await coming
    expect(await back.next('message')).toEqual({ ...work, attempt: 2 })
    const types = back.texts.flatMap((text) =>
      text.split('\n').map((line) => (JSON.parse(line) as { type: string }).type),
    )
    expect(types[0]).toBe('welcome')
    expect(await pushed(alice, back)).toEqual([])
  })

  test('goes by what an agent can do after the hub had to load the registry anew', async () => {
    const gaps = new Gaps()
    let deaf = false
    const wrap = (core: Core): Core => gaps.wrap(core, ({ kind: signal }) => !deaf || signal !== 'event')
    await using mesh = await startMesh(kind, 2, { eventsMax: 3 }, (core, index) =>
      index === 0 ? wrap(core) : core,
    )
    await using alice = await join(mesh.hub(1), 'alice', asker)
    await using bob = await join(mesh.hub(0), 'bob')
    await seen(mesh.hub(0), 'bob')
    deaf = true
    for (let n = 0; n < 6; n++) await alice.request({ type: 'update', metadata: { n: String(n) } })
    await bob.request({ type: 'update', capabilities: ['ocr'] })
    deaf = false
    await send(alice, OCR, 'work')
    expect(await bob.next('message', () => true, 2_000)).toMatchObject({ payload: 'work' })
  })

  test('of two queues is taken in turn by an agent that has room for one', async () => {
    await using mesh = await startMesh(kind, 1)
    await using alice = await join(mesh.hub(0), 'alice', asker)
    await sendAll(alice, NLP, ['n1', 'n2', 'n3', 'n4'])
    await sendAll(alice, OCR, ['o1', 'o2'])
    await using bob = await join(mesh.hub(0), 'bob', { capabilities: ['nlp', 'ocr'] })
    const taken: unknown[] = []
    for (let i = 0; i < 4; i++) {
      const [message] = await receive(bob, 1)
      if (!message) break
      taken.push(message.payload)
      ack(bob, message)
    }
    expect(taken).toEqual(['n1', 'o1', 'n2', 'o2'])
  })

  test('goes to who was passed over, for its room was reserved for another queue, when it has it back', async () => {
    const gate = new Gate()
    let passed = 0
    await using mesh = await startMesh(kind, 1, {}, (core) =>
      withQueues(core, {
        claim: async (namespace, capability, claimants) => {
          const answer = core.queues.claim(namespace, capability, claimants)
          if (capability === 'ocr') return gate.pass(answer)
          if ((await answer).left > 0) passed++
          return answer
        },
      }),
    )
    const store = await mesh.store()
    await using alice = await join(mesh.hub(0), 'alice', asker)
    await using bob = await join(mesh.hub(0), 'bob', { capabilities: ['nlp', 'ocr'] })
    await send(alice, NLP, 'one')
    const one = await bob.next('message')
    await using carol = await join(mesh.hub(0), 'carol')
    await send(alice, NLP, 'two')
    const two = await carol.next('message')
    ack(bob, one)
    await bob.roundTrip()
    gate.close()
    // A signal may be lost: again until it is heard.
    while (!gate.isFull) {
      store.bus.publish('default', null, { kind: 'queued', capabilities: ['ocr'] })
      await bob.roundTrip()
    }
    passed = 0
    carol.send({ type: 'nack', id: two.id })
    await expect.poll(() => passed, { timeout: 5_000 }).toBeGreaterThan(0)
    gate.open()
    expect(await bob.next('message')).toEqual({ ...two, attempt: 2 })
  })

  test('is asked for by one question at a time, however much fails while the store is away', async () => {
    let away = false
    let asked = 0
    let released = 0
    await using mesh = await startMesh(kind, 1, {}, (core) =>
      withQueues(core, {
        claim: (...args) => (away ? Promise.reject(gone()) : core.queues.claim(...args)),
        held: (...args) => {
          asked++
          return away ? Promise.reject(gone()) : core.queues.held(...args)
        },
        release: (...args) => {
          released++
          return away ? Promise.reject(gone()) : core.queues.release(...args)
        },
      }),
    )
    await using alice = await join(mesh.hub(0), 'alice', asker)
    await using bob = await join(mesh.hub(0), 'bob', { concurrency: 2 })
    await sendAll(alice, NLP, [1, 2, 3])
    const [one] = await receive(bob, 2)
    away = true
    asked = 0
    bob.send({ type: 'nack', id: one?.id })
    await expect.poll(() => released, { timeout: 10_000 }).toBeGreaterThanOrEqual(7)
    expect(asked).toBeLessThanOrEqual(8)
    away = false
    expect(await bob.next('message')).toEqual({ ...one, attempt: 2 })
  }, 20_000)
})
