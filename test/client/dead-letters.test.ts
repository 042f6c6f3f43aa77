import { describe, expect, it } from 'vitest'
import type { DeadLetterInfo } from '../../client/node.ts'
import { startScriptedHub } from '../support/scripted-hub.ts'

function deadLetter(position: string): DeadLetterInfo {
  return {
    position,
    messageId: `m${position}`,
    agentId: 'a2',
    capability: null,
    from: 'a1',
    messageType: 'task',
    reason: 'max_attempts',
    attempts: 5,
    createdAt: '2026-11-21T12:00:00.000Z',
    deadAt: '2026-11-21T12:00:01.000Z',
  }
}

describe('dead letters', () => {
  it('are listed by page', async () => {
    await using hub = await startScriptedHub()
    const [client, socket] = await hub.join()
    const listing = client.deadLetters.list(
      { capability: 'nlp', reason: 'max_attempts' },
      { limit: 2, payload: true },
    )
    const frame = await socket.next('dead-letters.list')
    expect(frame).toMatchObject({
      where: { capability: 'nlp', reason: 'max_attempts' },
      limit: 2,
      payload: true,
    })
    expect(frame).not.toHaveProperty('timeoutMs')
    const page = { deadLetters: [deadLetter('1')], cursor: '1', kept: 7, dropped: 3 }
    socket.ok(frame, page)
    expect(await listing).toEqual(page)

    void client.deadLetters.list({}, { cursor: page.cursor })
    expect(await socket.next('dead-letters.list')).toMatchObject({ where: {}, cursor: '1' })
  })

  it('are listed to the last, as they are read', async () => {
    await using hub = await startScriptedHub()
    const [client, socket] = await hub.join()
    const all = client.deadLetters.listAll({ from: 'a1' }, { limit: 1 })
    const positions: string[] = []
    const reading = (async () => {
      for await (const { position } of all) positions.push(position)
    })()
    for (const [cursor, position, after] of [
      [undefined, '1', '1'],
      ['1', '2', null],
    ] as const) {
      const frame = await socket.next('dead-letters.list')
      expect([frame['cursor'] ?? undefined, frame['where'], frame['limit']]).toEqual([
        cursor,
        { from: 'a1' },
        1,
      ])
      socket.ok(frame, { deadLetters: [deadLetter(position)], cursor: after, kept: 2, dropped: 0 })
    }
    await reading
    expect(positions).toEqual(['1', '2'])
    expect(socket.unread).toEqual([])
  })

  it('are stored again or deleted, by position or by what they are', async () => {
    await using hub = await startScriptedHub()
    const [client, socket] = await hub.join()
    const redriving = client.deadLetters.redrive({ positions: ['1', '2'] })
    const redrive = await socket.next('dead-letters.redrive')
    expect(redrive).toEqual({
      type: 'dead-letters.redrive',
      ref: expect.any(String),
      positions: ['1', '2'],
    })
    const result = { redriven: 1, failed: [{ position: '2', code: 'unknown_target' }] }
    socket.ok(redrive, result)
    expect(await redriving).toEqual(result)

    const purging = client.deadLetters.purge({ where: { messageType: 'task' } })
    const purge = await socket.next('dead-letters.purge')
    expect(purge).toEqual({
      type: 'dead-letters.purge',
      ref: expect.any(String),
      where: { messageType: 'task' },
    })
    socket.ok(purge, { purged: 4 })
    expect(await purging).toEqual({ purged: 4 })
  })

  it('are not chosen by a field without a value, which would mean all of them', async () => {
    await using hub = await startScriptedHub()
    const [client] = await hub.join()
    for (const reason of [undefined, null] as unknown as string[]) {
      const refused = { code: 'bad_frame', message: 'reason has no value; give it one or leave it out' }
      await expect(client.deadLetters.purge({ where: { reason } })).rejects.toMatchObject(refused)
      await expect(client.deadLetters.redrive({ where: { reason } })).rejects.toMatchObject(refused)
    }
  })

  it('are refused as the hub says, and waited for no longer than asked', async () => {
    await using hub = await startScriptedHub()
    const [client, socket] = await hub.join()
    const refused = client.deadLetters.purge({ where: {} })
    socket.error(await socket.next('dead-letters.purge'), 'forbidden')
    await expect(refused).rejects.toMatchObject({ name: 'MeshError', code: 'forbidden' })
    const late = client.deadLetters.list({}, { timeoutMs: 20 })
    await expect(late).rejects.toMatchObject({ name: 'TimeoutError' })
  })
})
