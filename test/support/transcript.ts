import { isDeepStrictEqual } from 'node:util'
import { openSocket, type TestSocket } from './agent.ts'

/** Stands for any value; as a key: the frame may have more fields than are shown. */
const ANY = '…'

/** The connection of one participant, by name. */
type Sockets = Map<string, TestSocket>
/** What `<name>` stands for, since it first came. */
type Names = Map<string, unknown>

/** Whether a value that came is the one that is shown; learns the names in it. */
function matches(shown: unknown, came: unknown, names: Names): boolean {
  if (shown === ANY) return came !== undefined
  if (typeof shown === 'string' && /^<.+>$/.test(shown)) {
    if (!names.has(shown)) names.set(shown, came)
    return isDeepStrictEqual(names.get(shown), came)
  }
  if (typeof shown !== 'object' || shown === null) return shown === came
  if (typeof came !== 'object' || came === null || Array.isArray(shown) !== Array.isArray(came)) return false
  const fields = Object.entries(shown).filter(([key]) => key !== ANY)
  const all = fields.every(([key, value]) => matches(value, (came as Record<string, unknown>)[key], names))
  return all && (ANY in shown || Object.keys(came).length === fields.length)
}

/** The text of a frame with what its names stand for. */
const filled = (text: string, names: Names): string =>
  text.replaceAll(/"(<[^">]+>)"/g, (_, name: string) => JSON.stringify(names.get(name)))

async function expectFrame(socket: TestSocket, text: string, names: Names): Promise<void> {
  const shown = JSON.parse(text) as { readonly type: string }
  for (;;) {
    const frame = await socket.nextWhere(() => true, text)
    if (frame.type === 'ping' && shown.type !== 'ping') {
      socket.send({ type: 'pong' })
      continue
    }
    if (!matches(shown, frame, names)) throw new Error(`this came instead: ${JSON.stringify(frame)}`)
    return
  }
}

async function play(line: string, url: string, sockets: Sockets, names: Names): Promise<void> {
  const {
    who = '',
    what = '',
    rest = '',
  } = /^(?<who>\w+) +(?<what>→|←|connects|is cut off|is closed)(?: (?<rest>.*))?$/.exec(line)?.groups ?? {}
  if (what === 'connects') {
    sockets.set(who, await openSocket(url, { autoPong: false }))
    return
  }
  const socket = sockets.get(who)
  if (socket === undefined)
    throw new Error('nobody of that name is connected, or this is no line of a transcript')
  if (what === '→') socket.raw(filled(rest, names))
  else if (what === '←') await expectFrame(socket, rest, names)
  else if (what === 'is cut off') await socket.cut()
  else {
    const { code } = await socket.closed
    if (code !== Number(rest)) throw new Error(`it was closed with ${code}`)
  }
}

/**
 * Plays a conversation with a hub, and fails at the first line that does not happen. A line is `name → frame` (sent as it is),
 * `name ← frame` (the next that comes, apart from pings that are not shown), `name connects`, `name is cut off`, or `name is
 * closed code`; in a frame `"<name>"` is whatever it was the first time, `"…"` anything, and a field `"…"` further fields.
 * @throws Error that names the line
 */
export async function replay(transcript: string, url: string): Promise<void> {
  const sockets: Sockets = new Map()
  const names: Names = new Map()
  try {
    for (const [index, line] of transcript.trimEnd().split('\n').entries()) {
      if (line.trim() === '') continue
      await play(line, url, sockets, names).catch((error: Error) => {
        throw new Error(`line ${index + 1}, ${line}\n${error.message}`, { cause: error })
      })
    }
    for (const [name, socket] of sockets) {
      // Whatever the hub had still to say has come then; who is closed or not welcome has nothing to wait for.
      await socket.roundTrip().catch(() => undefined)
      const more = socket.waiting.filter(({ type }) => type !== 'ping')
      if (more.length > 0) throw new Error(`${name} got more than is shown: ${JSON.stringify(more)}`)
    }
  } finally {
    await Promise.all([...sockets.values()].map((socket) => socket.cut()))
  }
}
