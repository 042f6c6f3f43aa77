import type { DeadLettersList, DeadLettersPurge, DeadLettersRedrive } from '../../../protocol/commands.ts'
import * as deadLetters from '../dead-letter-work.ts'
import type { Context } from '../dispatch.ts'

/** `dead-letters.list`: a page of those that match. */
export async function listDeadLetters(
  { connection, namespace }: Context,
  frame: DeadLettersList,
): Promise<void> {
  connection.reply(frame.ref, await deadLetters.deadLetterPage(namespace, frame))
}

/** `dead-letters.redrive`: stores them once more where they were; what cannot be stored stays, and is told. */
export async function redriveDeadLetters(
  { connection, namespace }: Context,
  frame: DeadLettersRedrive,
): Promise<void> {
  connection.reply(frame.ref, JSON.stringify(await deadLetters.redriveDeadLetters(namespace, frame)))
}

/** `dead-letters.purge`: deletes them. */
export async function purgeDeadLetters(
  { connection, namespace }: Context,
  frame: DeadLettersPurge,
): Promise<void> {
  connection.reply(frame.ref, JSON.stringify(await deadLetters.purgeDeadLetters(namespace, frame)))
}
