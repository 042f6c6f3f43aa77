import { describe, expect, it } from 'vitest'
import { createWriter } from '../../client/writer.ts'

function recorded(maxBytes: number) {
  const sent: string[] = []
  const tasks: (() => void)[] = []
  const writer = createWriter(
    (text) => sent.push(text),
    (task) => tasks.push(task),
    maxBytes,
  )
  const turn = (): void => tasks.splice(0).forEach((task) => task())
  return { writer, sent, turn, tasks }
}

describe('the writer', () => {
  it('joins the frames of one turn into one message', () => {
    const { writer, sent, turn, tasks } = recorded(1000)
    writer.write('{"a":1}')
    writer.write('{"b":2}')
    expect([sent, tasks.length]).toEqual([[], 1])
    turn()
    writer.write('{"c":3}')
    turn()
    expect(sent).toEqual(['{"a":1}\n{"b":2}', '{"c":3}'])
  })

  it('never joins beyond the largest message, counting three bytes a character', () => {
    const { writer, sent, turn } = recorded(60)
    for (const line of ['123456789', '123456789', '1', 'x'.repeat(100), '2']) writer.write(line)
    turn()
    expect(sent).toEqual(['123456789\n123456789', '1', 'x'.repeat(100), '2'])
  })

  it('asks for the text of a frame that still grows only when it writes it', () => {
    const { writer, sent, turn } = recorded(1000)
    const ids: string[] = []
    writer.write(() => ids.join())
    writer.write(() => '')
    ids.push('m1', 'm2')
    turn()
    expect(sent).toEqual(['m1,m2'])
  })

  it('sends nothing after it was cleared', () => {
    const { writer, sent, turn } = recorded(1000)
    writer.write('{"a":1}')
    writer.clear()
    turn()
    expect(sent).toEqual([])
  })
})
