import type {
  StreamCancel,
  StreamChunk,
  StreamCredit,
  StreamEnd,
  StreamOpen,
} from '../../../protocol/commands.ts'
import { MeshError } from '../../../protocol/errors.ts'
import type { Context } from '../dispatch.ts'
import type { SessionStreams } from '../session-streams.ts'

/** `stream.open`: a stream to a connected agent; answered when that one's hub has opened it. @throws MeshError */
export function streamOpen({ namespace, session }: Context, frame: StreamOpen): void {
  if (!session)
    throw new MeshError('forbidden', 'an observer connection cannot open streams; say hello with an agent')
  namespace.streams.open(session, frame)
}

/** Of an unknown or ended stream nothing is found: its frames are ignored. */
function streamsOf({ namespace, session }: Context): SessionStreams | undefined {
  return session ? namespace.streams.find(session) : undefined
}

/** `stream.chunk`, from the sender. */
export function streamChunk(context: Context, { stream, seq, payload }: StreamChunk): void {
  streamsOf(context)?.sources.get(stream)?.chunk(seq, payload)
}

/** `stream.end`, from the sender. */
export function streamEnd(context: Context, { stream, error }: StreamEnd): void {
  streamsOf(context)
    ?.sources.get(stream)
    ?.end(error ?? null)
}

/** `stream.credit`, from the receiver. */
export function streamCredit(context: Context, { stream, credit }: StreamCredit): void {
  streamsOf(context)?.sinks.get(stream)?.credit(credit)
}

/** `stream.cancel`, from the receiver. */
export function streamCancel(context: Context, { stream, reason }: StreamCancel): void {
  streamsOf(context)
    ?.sinks.get(stream)
    ?.cancel(reason ?? null)
}
