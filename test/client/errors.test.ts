import { readFileSync } from 'node:fs'
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest'
import { connect, MeshError, StreamError } from '../../client/node.ts'
import { CLIENT_ERRORS, toError } from '../../client/errors.ts'
import { ERRORS } from '../../protocol/error-table.ts'
import { tableRows } from '../support/markdown.ts'
import { messageFrame, startScriptedHub } from '../support/scripted-hub.ts'

const failureOf = async (promise: Promise<unknown>): Promise<MeshError> => {
  const error: unknown = await promise.then(
    () => 'no failure',
    (thrown: unknown) => thrown,
  )
  expect(error).toBeInstanceOf(MeshError)
  return error as MeshError
}

describe('docs/client.md', () => {
  it('lists every code of the client with its name, whether to try again and what to do', () => {
    const docs = readFileSync(new URL('../../docs/client.md', import.meta.url), 'utf8')
    const section = docs.slice(docs.indexOf('\n## Errors'))
    const listed = tableRows(section).filter(([, , retryable = '']) => /^(?:yes|no)$/.test(retryable))
    expect(listed.map(([code, name, retryable, , remedy]) => [code, name, retryable, remedy])).toEqual(
      Object.entries(CLIENT_ERRORS).map(([code, [name, retryable, remedy]]) => [
        `\`${code}\``,
        `\`${name}\``,
        retryable ? 'yes' : 'no',
        remedy,
      ]),
    )
  })
})

it('the bundle for browsers carries no sentence of the table of the protocol', () => {
  const bundle = readFileSync(new URL('../../dist/client.min.js', import.meta.url), 'utf8')
  expect(bundle).toContain(CLIENT_ERRORS.timeout[2])
  const carried = Object.values(ERRORS).flatMap(({ sentence, remedy }) => [sentence, remedy])
  expect(carried.filter((text) => bundle.includes(text))).toEqual([])
})

describe('what the client rejects with is a MeshError', () => {
  beforeEach(() => void vi.spyOn(Math, 'random').mockReturnValue(0))
  afterEach(() => void vi.restoreAllMocks())

  it('timeout: a TimeoutError by name, retryable, with a remedy', async () => {
    await using hub = await startScriptedHub()
    const [client] = await hub.join()
    const expected = {
      name: 'TimeoutError',
      code: 'timeout',
      retryable: true,
      remedy: CLIENT_ERRORS.timeout[2],
    }
    expect(await failureOf(client.leader({ timeoutMs: 5 }))).toMatchObject(expected)
    expect(await failureOf(client.request('a2', 1, { timeoutMs: 5 }))).toMatchObject(expected)
    expect(await failureOf(client.requestStream('a2', 1, { timeoutMs: 5 }).next())).toMatchObject(expected)
  })

  it('overflow: a QuotaExceededError by name', async () => {
    await using hub = await startScriptedHub()
    const [client] = await hub.join({ maxOutgoing: 1 })
    void client.send('a2', 1)
    expect(await failureOf(client.send('a2', 2))).toMatchObject({
      name: 'QuotaExceededError',
      code: 'overflow',
      retryable: true,
    })
  })

  it('closed: an AbortError by name, in everything that is begun after close() or left by it', async () => {
    await using hub = await startScriptedHub()
    const [client, socket] = await hub.join()
    const left = client.leader()
    const unread = client.watch()
    await socket.next('leader')
    await client.close()
    const expected = { name: 'AbortError', code: 'closed', retryable: false }
    for (const promise of [
      left,
      unread.ready,
      client.send('a2', 1),
      client.discover(),
      client.openStream('a2'),
      client.request('a2', 1),
      client.watch().ready,
    ]) {
      expect(await failureOf(promise)).toMatchObject(expected)
    }
  })

  it('aborted: the reason of a signal as it is where that is an error, else an AbortError by name', async () => {
    await using hub = await startScriptedHub()
    const [client] = await hub.join()
    const own = new RangeError('mine')
    await expect(client.leader({ signal: AbortSignal.abort(own) })).rejects.toBe(own)
    await expect(client.leader({ signal: AbortSignal.abort() })).rejects.toBeInstanceOf(DOMException)
    expect(await failureOf(client.leader({ signal: AbortSignal.abort('enough') }))).toMatchObject({
      name: 'AbortError',
      code: 'aborted',
      message: 'enough',
      details: 'enough',
    })
  })

  it('connection_lost: a stream that was being opened', async () => {
    await using hub = await startScriptedHub()
    const [client, socket] = await hub.join()
    const opening = client.openStream('a2')
    await socket.next('stream.open')
    socket.cut()
    expect(await failureOf(opening)).toMatchObject({ code: 'connection_lost', retryable: true })
  })

  it('a StreamError too, retryable where its sender is gone', () => {
    expect(new StreamError('peer_gone', 'gone', 3)).toMatchObject({
      name: 'StreamError',
      code: 'peer_gone',
      retryable: true,
      remedy: CLIENT_ERRORS.peer_gone[2],
      seq: 3,
    })
    const own = new StreamError('out_of_memory', 'no room')
    expect(own).toBeInstanceOf(MeshError)
    expect(own).toMatchObject({ retryable: false, remedy: 'Change what the message names.', seq: null })
  })

  it('where the platform refuses the url', async () => {
    const connecting = connect({ url: 'ws://127.0.0.1:1/mesh#part', name: 'tester', capabilities: ['nlp'] })
    expect(await failureOf(connecting)).toMatchObject({ code: 'bad_frame', cause: expect.any(Error) })
  })

  it('as the reason of a handler’s signal: timeout, revoked, closed', async () => {
    await using hub = await startScriptedHub()
    const [client, socket] = await hub.join({ concurrency: 3, closeTimeoutMs: 5 })
    const reasons: Promise<unknown>[] = []
    const wait = (_message: unknown, { signal }: { signal: AbortSignal }): Promise<unknown> => {
      const reason = new Promise((resolve) => signal.addEventListener('abort', () => resolve(signal.reason)))
      reasons.push(reason)
      return reason
    }
    client.onMessage('slow', wait, { timeoutMs: 5 })
    client.onMessage('other', wait)
    socket.send(messageFrame('m1', { messageType: 'slow' }))
    expect(await socket.next('nack')).toMatchObject({ id: 'm1', reason: 'handler timed out after 5 ms' })
    socket.send(messageFrame('m2', { messageType: 'other' }))
    await socket.settled()
    socket.send({ type: 'revoked', ids: ['m2'], reason: 'ack_timeout' })
    socket.send(messageFrame('m3', { messageType: 'other' }))
    await socket.settled()
    await client.close()
    const all = (await Promise.all(reasons)) as MeshError[]
    for (const reason of all) expect(reason).toBeInstanceOf(MeshError)
    expect(all.map(({ name, code }) => [name, code])).toEqual([
      ['TimeoutError', 'timeout'],
      ['RevokedError', 'revoked'],
      ['AbortError', 'closed'],
    ])
  })
})

it('options without a JSON text are refused by connect, not thrown at nobody', async () => {
  await using hub = await startScriptedHub()
  const connecting = connect({
    url: hub.url,
    name: 'tester',
    capabilities: ['nlp'],
    metadata: { n: 1n as never },
  })
  await expect(connecting).rejects.toBeInstanceOf(TypeError)
})

describe('what user code throws', () => {
  it.each([
    [new RangeError('far'), 'far'],
    ['text', 'text'],
    [undefined, 'undefined'],
    [Object.create(null), 'something without a text was thrown'],
    [Object.assign(new Error('x'), { message: 5 }), '5'],
    [Symbol('odd'), 'Symbol(odd)'],
  ])('becomes an error with a text: %#', (thrown, message) => {
    expect(toError(thrown)).toBeInstanceOf(Error)
    expect(toError(thrown).message).toBe(message)
  })

  it('stays the error that it is', () => {
    const error = new RangeError('far')
    expect(toError(error)).toBe(error)
  })
})
