import type { HubServer } from '../server.ts'
import { explain } from './explain.ts'

/** From the first signal to the end of the process, whatever the store and the clients do. */
export const STOP_MS = 45_000

/** Drains and closes a hub, once, and ends the process. */
export function stopper(hub: HubServer): () => void {
  let stopping = false
  return () => {
    if (stopping) return
    stopping = true
    setTimeout(() => process.exit(1), STOP_MS)
    hub
      .drain()
      .then(() => hub.close())
      .then(
        () => process.exit(0),
        (error: unknown) => {
          process.stderr.write(`${explain(error)}\n`)
          process.exit(1)
        },
      )
  }
}
