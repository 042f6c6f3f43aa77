import { type AgentRecord, NO_VERSION } from './agent-record.ts'

/** Bytes of a payload, so that the whole datagram stays below the 16,384 bytes that a client receives. */
export const PAGE_BYTES = 16_384 - 40 - 1

const bytesOf = (text: string): number => Buffer.byteLength(text)

/**
 * The answer to an AgentDiscover as JSON: as many of the agents from `offset` on as fit, `count` how many that are, `total` how many there are, and
 * `next_offset` where there are more. One that would not fit even alone is told without description and tags, which may be absent, and where that is
 * not enough by what cannot be left out.
 */
export function discoverPage(
  capability: string,
  agents: readonly unknown[],
  offset: number,
  record: (index: number) => AgentRecord,
): string {
  const total = agents.length
  const tail = (count: number, next: number): string =>
    `],"count":${count},"total":${total}${next < total ? `,"next_offset":${next}` : ''}}`
  const head = `{"capability":${JSON.stringify(capability)},"agents":[`
  // The longest that may follow the agents.
  let left = PAGE_BYTES - bytesOf(head) - bytesOf(tail(total, total - 1))
  const texts: string[] = []
  let index = offset
  for (; index < total; index++) {
    const whole = record(index)
    let text = JSON.stringify(whole)
    if (texts.length === 0 && bytesOf(text) > left) text = JSON.stringify(withoutExtras(whole))
    if (texts.length === 0 && bytesOf(text) > left) text = JSON.stringify(least(whole, capability))
    left -= bytesOf(text) + 1
    if (left < 0) break
    texts.push(text)
  }
  return `${head}${texts.join(',')}${tail(texts.length, index)}`
}

function withoutExtras({ description: _description, tags: _tags, ...record }: AgentRecord): AgentRecord {
  return record
}

/** What no agent is too large for: id, name and capability of 256 characters each, of 6 bytes at most, are less than half of a page. */
function least(record: AgentRecord, capability: string): AgentRecord {
  return { ...withoutExtras(record), version: NO_VERSION, capabilities: [capability] }
}
