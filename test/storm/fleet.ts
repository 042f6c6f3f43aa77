import { connect, type Client } from '../../client/node.ts'

/** How the clients of a fleet fared since the last report. */
export interface FleetReport {
  /** Milliseconds since 1970 at which each that was lost was open again. */
  readonly back: readonly number[]
  /** Tries that were answered 503 with a time to come back at. */
  readonly busy: number
  /** Clients without an open session now. */
  readonly lost: number
}

/** Clients that connect at once at the start. */
const TOGETHER = 50

// Many bundled clients in one process: `url`, how many, the first one's number, their namespace.
const [url = '', countText = '0', firstText = '0', namespace = 'default'] = process.argv.slice(2)
const count = Number(countText)
let back: number[] = []
let busy = 0
let started = false
const clients: Client[] = []

async function dial(index: number): Promise<void> {
  clients.push(
    await connect({
      url,
      namespace,
      id: `fleet-${index}`,
      name: `fleet-${index}`,
      capabilities: ['waiting'],
      leaderEligible: false,
      onStatus(event) {
        if (!started) return
        if (event.type === 'open') back.push(Date.now())
        else if (event.type === 'waiting' && event.cause.reason === 'busy') busy++
      },
    }),
  )
}

const first = Number(firstText)
for (let at = 0; at < count; at += TOGETHER)
  await Promise.all(Array.from({ length: Math.min(TOGETHER, count - at) }, (_, i) => dial(first + at + i)))
started = true
process.on('disconnect', () => process.exit(0))
process.on('message', () => {
  const lost = clients.filter(({ state }) => state.type !== 'open').length
  process.send?.({ back, busy, lost } satisfies FleetReport)
  back = []
  busy = 0
})
process.send?.({ ready: true })
