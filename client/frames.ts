import type { Push } from '../protocol/pushes.ts'
import type { Reply } from '../protocol/replies.ts'

/** What comes on an open session. */
export type Frame = Reply | Push
/** What is done about frames of some types. */
export type Frames = {
  readonly [Type in Frame['type']]?: (frame: Extract<Frame, { readonly type: Type }>) => void
}

/** Does what is to be done about a frame. Answers false where that is nothing. */
export function dispatch(frames: Frames, frame: Frame): boolean {
  const isKnown = Object.hasOwn(frames, frame.type)
  if (isKnown) (frames[frame.type] as (frame: Frame) => void)(frame)
  return isKnown
}
