import { afterEach, beforeEach, describe, expect, expectTypeOf, it, vi } from 'vitest'
import type { Receipt } from '../../protocol/pushes.ts'
import type { SendResult, SettledReceipt, TrackedSend } from '../../client/node.ts'
import type { StatusEvent } from '../../client/status.ts'
import { startScriptedHub } from '../support/scripted-hub.ts'
import type { Frame, ScriptedSocket } from '../support/scripted-hub.ts'

const AT = '2026-11-21T12:00:00.000Z'

function receiptFrame(id: string, status: Receipt['status'], fields: Partial<Receipt> = {}): Receipt {
  const receiptId = `${id}.${status === 'in_progress' ? 'p' : 'f'}`
  return { type: 'receipt', receiptId, id, agentId: 'a2', status, reason: null, at: AT, ...fields }
}

/** Answers the client's next send, as message `id`. */
async function store(socket: ScriptedSocket, id: string): Promise<Frame> {
  const frame = await socket.next('send')
  socket.ok(frame, { id, recipients: 1 })
  return frame
}

describe('a send with a receipt', () => {
  beforeEach(() => void vi.spyOn(Math, 'random').mockReturnValue(0))
  afterEach(() => void vi.restoreAllMocks())

  it('resolves when it is stored, and tells later what became of the message', async () => {
    await using hub = await startScriptedHub()
    const [client, socket] = await hub.join()
    const sending = client.send({ capability: 'nlp' }, 1, { receipt: true, ifNone: 'fail' })
    expect(await store(socket, 'm1')).toMatchObject({
      to: { capability: 'nlp' },
      receipt: true,
      ifNone: 'fail',
    })
    const sent = await sending
    expect(sent).toMatchObject({ id: 'm1', recipients: 1 })
    const final = receiptFrame('m1', 'dead_lettered', { reason: 'unreadable' })
    socket.send(receiptFrame('m1', 'in_progress'), final)
    expect(await sent.settled).toEqual(final)
    expect(await socket.next('ack')).toEqual({ type: 'ack', ids: ['m1.p', 'm1.f'] })
    const seen: Receipt[] = []
    for await (const receipt of sent.receipts) seen.push(receipt)
    expect(seen.map(({ status }) => status)).toEqual(['in_progress', 'dead_lettered'])
  })

  it('has `settled` in its type only where the receipt is asked for', async () => {
    await using hub = await startScriptedHub()
    const [client, socket] = await hub.join()
    const tracked = client.send('a2', 1, { receipt: true })
    const plain = client.send('a2', 1)
    expectTypeOf(tracked).resolves.toEqualTypeOf<TrackedSend>()
    expectTypeOf(plain).resolves.toEqualTypeOf<SendResult>()
    expectTypeOf<SettledReceipt['status']>().toEqualTypeOf<'acked' | 'expired' | 'dead_lettered'>()
    await store(socket, 'm1')
    await store(socket, 'm2')
    await tracked
    expect(Object.keys(await plain)).toEqual(['id', 'recipients'])
  })

  it.each(['before its answer', 'in one text with its answer'])(
    'gets the receipts that come %s, which are acknowledged when they are taken',
    async (when) => {
      await using hub = await startScriptedHub()
      const events: StatusEvent[] = []
      const [client, socket] = await hub.join({ onStatus: (event) => events.push(event) })
      const others = [client.send('a2', 0, { receipt: true }), client.send('a3', 0)]
      const sending = client.send('a2', 1, { receipt: true })
      const frames = [await socket.next('send'), await socket.next('send'), await socket.next('send')]
      const receipts = [receiptFrame('m3', 'in_progress'), receiptFrame('m3', 'acked')]
      const answer = { type: 'ok', ref: frames[2]?.['ref'], result: { id: 'm3', recipients: 1 } }
      if (when === 'before its answer') {
        socket.send(...receipts)
        await socket.settled()
        expect(socket.unread).toEqual([])
        socket.send(answer)
      } else {
        socket.send(...receipts, answer)
      }
      const { settled, receipts: feed } = await sending
      expect(await settled).toMatchObject({ status: 'acked', agentId: 'a2', reason: null, at: AT })
      expect((await feed.next()).value).toMatchObject({ status: 'in_progress' })
      expect(await socket.next('ack')).toEqual({ type: 'ack', ids: ['m3.p', 'm3.f'] })
      for (const [index, frame] of frames.slice(0, 2).entries()) {
        socket.ok(frame, { id: `m${index}`, recipients: 1 })
      }
      await Promise.all(others)
      expect(events.filter(({ type }) => type === 'receipt')).toEqual([])
    },
  )

  it('whose answer was lost is settled by the id of the duplicate, though its receipt came first, twice', async () => {
    await using hub = await startScriptedHub()
    const [client, first] = await hub.join()
    const sending = client.send('a2', 1, { receipt: true })
    await first.next('send')
    first.send(receiptFrame('m1', 'acked'))
    await first.settled()
    first.cut()
    const second = await hub.accept()
    await second.welcome()
    second.send(receiptFrame('m1', 'acked'))
    await second.settled()
    expect(second.unread).toMatchObject([{ type: 'send', seq: 1, receipt: true }])
    second.ok(await second.next('send'), { id: 'm1', recipients: 1, duplicate: true })
    expect(await (await sending).settled).toMatchObject({ status: 'acked' })
    expect(await second.next('ack')).toEqual({ type: 'ack', ids: ['m1.f'] })
  })

  it('is settled once: a receipt that comes again in the next session is acknowledged again, no more', async () => {
    await using hub = await startScriptedHub()
    const events: StatusEvent[] = []
    const [client, first] = await hub.join({ onStatus: (event) => events.push(event) })
    const sending = client.send('a2', 1, { receipt: true })
    await store(first, 'm1')
    const sent = await sending
    first.send(receiptFrame('m1', 'in_progress'))
    expect(await first.next('ack')).toEqual({ type: 'ack', ids: ['m1.p'] })
    first.cut()
    const second = await hub.accept()
    await second.welcome()
    second.send(receiptFrame('m1', 'in_progress'), receiptFrame('m1', 'expired', { agentId: null }))
    expect(await second.next('ack')).toEqual({ type: 'ack', ids: ['m1.p', 'm1.f'] })
    second.send(receiptFrame('m1', 'expired', { agentId: null }))
    expect(await second.next('ack')).toEqual({ type: 'ack', ids: ['m1.f'] })
    const seen: string[] = []
    for await (const { status } of sent.receipts) seen.push(status)
    expect(seen).toEqual(['in_progress', 'expired'])
    expect(events.filter(({ type }) => type === 'receipt')).toEqual([])
  })

  it('of an earlier client is acknowledged and told by the status, though sends of this one are always open', async () => {
    await using hub = await startScriptedHub()
    const told: Receipt[] = []
    const [client, socket] = await hub.join({
      onStatus: (event) => void (event.type === 'receipt' && told.push(event.receipt)),
    })
    socket.send(receiptFrame('old1', 'acked'))
    expect(await socket.next('ack')).toEqual({ type: 'ack', ids: ['old1.f'] })
    expect(told).toEqual([receiptFrame('old1', 'acked')])

    const open = client.send('a2', 1, { receipt: true })
    const frame = await socket.next('send')
    socket.send(receiptFrame('old2', 'expired'))
    await socket.settled()
    void client.send('a2', 2, { receipt: true })
    await socket.next('send')
    expect(socket.unread).toEqual([])
    socket.ok(frame, { id: 'm1', recipients: 1 })
    await open
    expect(await socket.next('ack')).toEqual({ type: 'ack', ids: ['old2.f'] })
    expect(told.map(({ id }) => id)).toEqual(['old1', 'old2'])
  })

  it('that is refused or called off leaves nothing behind that waits', async () => {
    await using hub = await startScriptedHub()
    const [client, socket] = await hub.join()
    const refused = client.send('nobody', 1, { receipt: true })
    socket.error(await socket.next('send'), 'unknown_target')
    await expect(refused).rejects.toMatchObject({ code: 'unknown_target' })

    const abort = new AbortController()
    const off = client.send('a2', 2, { receipt: true, signal: abort.signal })
    await socket.next('send')
    socket.send(receiptFrame('m2', 'acked'))
    await socket.settled()
    abort.abort()
    await expect(off).rejects.toMatchObject({ name: 'AbortError' })
    expect(await socket.next('ack')).toEqual({ type: 'ack', ids: ['m2.f'] })
  })

  it('rejects `settled` and ends `receipts` when the client is closed first, which nobody has to look at', async () => {
    await using hub = await startScriptedHub()
    const unhandled = vi.fn<(reason: unknown) => void>()
    process.on('unhandledRejection', unhandled)
    const [client, socket] = await hub.join()
    const sendings = [1, 2].map((n) => client.send('a2', n, { receipt: true }))
    await store(socket, 'm1')
    await store(socket, 'm2')
    const [watched, ignored] = await Promise.all(sendings)
    const reading = watched?.receipts.next().catch((error: Error) => error.name)
    await client.close()
    expect(await reading).toBe('AbortError')
    await expect(watched?.settled).rejects.toMatchObject({ name: 'AbortError' })
    expect(await watched?.receipts.next()).toEqual({ done: true, value: undefined })
    expect(ignored?.id).toBe('m2')
    await new Promise((resolve) => setImmediate(resolve))
    process.off('unhandledRejection', unhandled)
    expect(unhandled).not.toHaveBeenCalled()
  })

  it('is refused at once where there can be no receipt', async () => {
    await using hub = await startScriptedHub()
    const [client, socket] = await hub.join()
    const refused = { code: 'bad_frame', message: expect.stringContaining('receipt') }
    await expect(client.send('a2', 1, { receipt: true, durability: 'transient' })).rejects.toMatchObject(
      refused,
    )
    for (const to of [{ all: true }, { group: 'eu' }, { capability: 'nlp', mode: 'all' }] as const) {
      await expect(client.send(to, 1, { receipt: true })).rejects.toMatchObject(refused)
    }
    await socket.settled()
    expect(socket.unread).toEqual([])
  })
})
