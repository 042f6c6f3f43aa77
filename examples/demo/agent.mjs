// What the four agents of the demo have in common: they are told where the hub is by their environment, and they tell the
// demo what they see and do over the channel that `fork` has opened.
import { connect } from 'meshwire/client'

// Without the demo there is nobody to be an agent for.
process.once('disconnect', () => process.exit())

/**
 * Tells the demo something: `text` is printed, the other fields are what it checks.
 * @param {string} text
 * @param {Record<string, unknown>} [fact]
 */
export function tell(text, fact = {}) {
  process.send?.({ text, ...fact })
}

/**
 * Connects an agent that is unregistered and ends when the demo says so.
 * @param {Omit<import('meshwire/client').AgentOptions, 'url' | 'namespace'>} options
 */
export async function join(options) {
  const { DEMO_URL: url = '', DEMO_NAMESPACE: namespace = '' } = process.env
  const client = await connect({ url, namespace, ...options })
  const leave = async () => {
    await client.close({ unregister: true })
    process.disconnect()
  }
  process.on('message', (order) => {
    if (order === 'leave') void leave()
  })
  return client
}
