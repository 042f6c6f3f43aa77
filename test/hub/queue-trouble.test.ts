import { describe, expect, test } from 'vitest'
import { MeshError } from '../../protocol/errors.ts'
import type { Core } from '../../src/server.ts'
import { CORES, startMesh } from '../support/hubs.ts'
import { Gaps, withQueues } from '../support/queues.ts'
import { ack, asker, join, NLP, pushed, seen, send, sendAll } from '../support/talk.ts'
import { type Hear, withEars } from '../support/ears.ts'

const gone = (): MeshError => new MeshError('store_unavailable', 'the store does not answer')

describe.each(CORES)('work, on %s', (kind) => {
  test('whose claim was made and not answered is found, pushed once, and never more than there is room for', async () => {
    let lost = 3
    const wrap = (core: Core): Core =>
      withQueues(core, {
        claim: async (...args) => {
          const answer = await core.queues.claim(...args)
          if (answer.tasks.length > 0 && lost-- > 0) throw gone()
          return answer
        },
      })
    await using mesh = await startMesh(kind, 1, {}, wrap)
    await using alice = await join(mesh.hub(0), 'alice', asker)
    await using bob = await join(mesh.hub(0), 'bob')
    await sendAll(alice, NLP, [1, 2, 3, 4, 5])
    for (const payload of [1, 2, 3, 4, 5]) {
      const message = await bob.next('message')
      expect(message).toMatchObject({ payload, attempt: 1 })
      expect(await pushed(alice, bob)).toEqual([])
      ack(bob, message)
    }
  })

  test('that was pushed after the store was asked stays with its holder, though the answer does not have it', async () => {
    let fails = true
    const gate = { open: (): void => undefined, asked: (): void => undefined }
    const opened = new Promise<void>((resolve) => (gate.open = resolve))
    const asked = new Promise<void>((resolve) => (gate.asked = resolve))
    const wrap = (core: Core): Core =>
      withQueues(core, {
        claim: async (...args) => {
          if (!fails) return core.queues.claim(...args)
          fails = false
          throw gone()
        },
        held: async (...args) => {
          const answer = await core.queues.held(...args)
          gate.asked()
          await opened
          return answer
        },
      })
    await using mesh = await startMesh(kind, 1, {}, wrap)
    await using bob = await join(mesh.hub(0), 'bob')
    await using alice = await join(mesh.hub(0), 'alice', asker)
    await asked
    await sendAll(alice, NLP, [1, 2])
    const one = await bob.next('message')
    gate.open()
    expect(await pushed(alice, bob)).toEqual([])
    ack(bob, one)
    expect(await bob.next('message')).toMatchObject({ payload: 2, attempt: 1 })
    expect(bob.waitingOf('revoked')).toEqual([])
  })

  test('that is settled while the store is away is settled when it is back', async () => {
    let away = false
    const wrap = (core: Core): Core =>
      withQueues(core, {
        settle: (...args) => (away ? Promise.reject(gone()) : core.queues.settle(...args)),
      })
    await using mesh = await startMesh(kind, 1, {}, wrap)
    const store = await mesh.store()
    await using alice = await join(mesh.hub(0), 'alice', asker)
    await using bob = await join(mesh.hub(0), 'bob', { concurrency: 2 })
    await send(alice, NLP, 1)
    const one = await bob.next('message')
    away = true
    ack(bob, one)
    await bob.roundTrip()
    await send(alice, NLP, 2)
    ack(bob, await bob.next('message'))
    expect(await store.queues.size('default', 'nlp')).toBe(2)
    away = false
    await expect.poll(() => store.queues.size('default', 'nlp')).toBe(0)
    expect(await pushed(alice, bob)).toEqual([])
  })

  test('that is rejected while the store is away goes on when it is back', async () => {
    let away = false
    const wrap = (core: Core): Core =>
      withQueues(core, {
        release: (...args) => (away ? Promise.reject(gone()) : core.queues.release(...args)),
      })
    await using mesh = await startMesh(kind, 1, {}, wrap)
    await using alice = await join(mesh.hub(0), 'alice', asker)
    await using bob = await join(mesh.hub(0), 'bob')
    await send(alice, NLP, 1)
    const one = await bob.next('message')
    away = true
    bob.send({ type: 'nack', id: one.id })
    await bob.roundTrip()
    expect(await pushed(alice, bob)).toEqual([])
    away = false
    expect(await bob.next('message')).toEqual({ ...one, attempt: 2 })
  })

  test('that was taken away without the hub hearing of it is taken from its holder too', async () => {
    const hear: Hear = (signal, onSignal, onGap) => (signal.kind === 'revoked' ? onGap() : onSignal(signal))
    const wrap = (core: Core): Core => withEars(core, hear, true)
    await using mesh = await startMesh(kind, 1, { ackTimeoutMs: 300 }, wrap)
    await using alice = await join(mesh.hub(0), 'alice', asker)
    await using bob = await join(mesh.hub(0), 'bob')
    await using carol = await join(mesh.hub(0), 'carol')
    await seen(mesh.hub(0), 'carol')
    const [a, b] = await sendAll(alice, NLP, ['a', 'b'])
    await bob.next('message')
    await carol.next('message')
    const revoked = await Promise.all([bob.next('revoked'), carol.next('revoked')])
    expect(revoked.flatMap(({ ids }) => ids).toSorted()).toEqual([a?.id, b?.id].toSorted())
  })

  test('that is claimed, or done, while the hub asks what is held is neither taken away nor pushed again', async () => {
    const late: (() => void)[] = []
    const gaps = new Gaps()
    const wrap = (core: Core): Core =>
      withQueues(gaps.wrap(core), {
        held: async (...args) => {
          const answer = await core.queues.held(...args)
          await new Promise<void>((resolve) => late.push(resolve))
          return answer
        },
      })
    await using mesh = await startMesh(kind, 1, {}, wrap)
    const store = await mesh.store()
    await using alice = await join(mesh.hub(0), 'alice', asker)
    await using bob = await join(mesh.hub(0), 'bob', { concurrency: 2 })
    const askWhatIsHeld = async (): Promise<void> => {
      gaps.tell()
      await expect.poll(() => late.length).toBe(2)
    }
    const answer = (): void => late.splice(0).forEach((resolve) => resolve())
    await askWhatIsHeld()
    await send(alice, NLP, 1)
    const one = await bob.next('message')
    answer()
    expect(await pushed(alice, bob)).toEqual([])
    await askWhatIsHeld()
    ack(bob, one)
    await expect.poll(() => store.queues.size('default', 'nlp')).toBe(0)
    await bob.roundTrip()
    answer()
    expect(await pushed(alice, bob)).toEqual([])
    expect(bob.waitingOf('revoked')).toEqual([])
  })

  test('that nobody was told of is found by the sweep', async () => {
    const hear: Hear = (signal, onSignal) => (signal.kind === 'queued' ? undefined : onSignal(signal))
    const wrap = (core: Core): Core => withEars(core, hear, true)
    await using mesh = await startMesh(kind, 1, {}, wrap)
    await using alice = await join(mesh.hub(0), 'alice', asker)
    await using bob = await join(mesh.hub(0), 'bob')
    await send(alice, NLP, 1)
    expect((await bob.next('message', () => true, 12_000)).payload).toBe(1)
  }, 20_000)
})
