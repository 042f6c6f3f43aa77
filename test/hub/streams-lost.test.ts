import { describe, expect, test } from 'vitest'
import { CORES } from '../support/hubs.ts'
import { LostStreams } from '../support/lost-streams.ts'
import { chunks, grant, openStream, payloads, sendChunks, startTalk } from '../support/streams.ts'
import { join, seen } from '../support/talk.ts'

describe.concurrent.each(CORES)('a stream between two hubs that lose signals, on %s', (core) => {
  async function start() {
    const lost = new LostStreams()
    return { lost, ...(await startTalk(core, 2, {}, lost.wrap)) }
  }

  test('ends with interrupted for both where a chunk is lost, with the last one before', async () => {
    await using talk = await start()
    const { lost, alice, bob } = talk
    const stream = await openStream(alice, bob, 's1')
    await grant(alice, bob, stream, 4)
    sendChunks(alice, 's1', 0, ['a', 'b'])
    await chunks(bob, stream.received, 2)
    lost.loseNext(({ op }) => op === 'chunks')
    sendChunks(alice, 's1', 2, ['lost'])
    await lost.told('chunks')
    sendChunks(alice, 's1', 3, ['d'])
    const error = { code: 'interrupted', message: 'chunk 2 was lost between two hubs' }
    expect(await bob.next('stream.end')).toMatchObject({ stream: stream.received, error, seq: 1 })
    expect(await alice.next('stream.end')).toMatchObject({ stream: 's1', error })
    expect(bob.waiting).toEqual([])
  })

  test('ends with interrupted where the last chunk before a pause is lost', async () => {
    await using talk = await start()
    const { lost, alice, bob } = talk
    const stream = await openStream(alice, bob, 's1')
    await grant(alice, bob, stream, 1)
    lost.loseNext(({ op }) => op === 'chunks')
    sendChunks(alice, 's1', 0, ['lost'])
    expect(await bob.next('stream.end', undefined, 10_000)).toMatchObject({
      error: { code: 'interrupted' },
      seq: -1,
    })
    expect(await alice.next('stream.end')).toMatchObject({ error: { code: 'interrupted' } })
  })

  test('goes on where an open, its answer, or credit is lost', async () => {
    await using talk = await start()
    const { lost, alice, bob } = talk
    lost.loseNext(({ op }) => op === 'open')
    const first = await openStream(alice, bob, 's1')
    lost.loseNext(({ op }) => op === 'state')
    const second = await openStream(alice, bob, 's2')
    lost.loseNext(({ op }) => op === 'state')
    bob.send({ type: 'stream.credit', stream: first.received, credit: 1 })
    await alice.next('stream.credit', undefined, 10_000)
    sendChunks(alice, 's1', 0, ['after all'])
    expect(await payloads(bob, first.received, 1)).toEqual(['after all'])
    await grant(alice, bob, second, 1)
  })

  test('ends completely where its end is lost', async () => {
    await using talk = await start()
    const { lost, alice, bob } = talk
    const stream = await openStream(alice, bob, 's1')
    await grant(alice, bob, stream, 1)
    sendChunks(alice, 's1', 0, ['all'])
    lost.loseNext(({ op }) => op === 'end')
    alice.send({ type: 'stream.end', stream: 's1' })
    expect(await bob.next('stream.end', undefined, 10_000)).toMatchObject({
      stream: stream.received,
      error: null,
    })
  })

  test('does not leave the sender waiting where a cancel is lost', async () => {
    await using talk = await start()
    const { lost, alice, bob } = talk
    const stream = await openStream(alice, bob, 's1')
    lost.loseNext(({ op }) => op === 'cancel')
    bob.send({ type: 'stream.cancel', stream: stream.received })
    expect(await alice.next('stream.end', undefined, 10_000)).toMatchObject({
      error: { code: 'interrupted' },
    })
  })

  test('ends with peer_gone where the news that the other side is gone is lost', async () => {
    await using talk = await start()
    const { lost, mesh, alice, bob } = talk
    await openStream(alice, bob, 's1')
    const carol = await join(mesh.near, 'carol')
    const stream = await openStream(carol, bob, 's2')
    lost.loses = ({ op }) => op === 'end' || op === 'over'
    await carol.cut()
    await seen(mesh.far, 'carol', ({ connected }) => !connected)
    lost.loses = () => false
    expect(await bob.next('stream.end', undefined, 10_000)).toMatchObject({
      stream: stream.received,
      error: { code: 'peer_gone' },
      seq: -1,
    })
    lost.loses = ({ op }) => op === 'over'
    await bob.cut()
    await seen(mesh.near, 'bob', ({ connected }) => !connected)
    lost.loses = () => false
    expect(await alice.next('stream.end', undefined, 10_000)).toMatchObject({
      stream: 's1',
      error: { code: 'peer_gone' },
    })
  })

  test('ends with peer_gone for both within 5 s once the hubs do not hear each other any more', async () => {
    await using talk = await start()
    const { lost, alice, bob } = talk
    const stream = await openStream(alice, bob, 's1')
    await grant(alice, bob, stream, 2)
    sendChunks(alice, 's1', 0, ['a'])
    await chunks(bob, stream.received, 1)
    lost.silent = true
    const at = performance.now()
    const gone = { error: { code: 'peer_gone' }, seq: 0 }
    const [toSender, toReceiver] = await Promise.all([
      alice.next('stream.end', undefined, 10_000),
      bob.next('stream.end', undefined, 10_000),
    ])
    expect(toSender).toMatchObject(gone)
    expect(toReceiver).toMatchObject(gone)
    expect(performance.now() - at).toBeLessThan(5_000)
    const refusal = await alice.refusal({ type: 'stream.open', stream: 's2', to: { agent: 'bob' } })
    expect(refusal).toMatchObject({
      code: 'unknown_target',
      message: 'the hub of agent "bob" does not answer',
    })
  }, 20_000)

  test('is kept alive while nothing is sent', async () => {
    await using talk = await start()
    const { lost, alice, bob } = talk
    const stream = await openStream(alice, bob, 's1')
    for (let i = 0; i < 3; i++) await lost.told('sent')
    await grant(alice, bob, stream, 1)
    sendChunks(alice, 's1', 0, ['still open'])
    expect(await payloads(bob, stream.received, 1)).toEqual(['still open'])
  })
})
