import { type AgentOptions, type Client, connect, type StatusEvent } from '../../client/node.ts'

/** A client by its name, which is its id too, with room for eight messages. */
export const join = (
  { url }: Pick<AgentOptions, 'url'>,
  name: string,
  options: Partial<AgentOptions> = {},
): Promise<Client> => connect({ url, name, id: name, capabilities: ['test'], concurrency: 8, ...options })

/** The next status event of a type. */
export async function until<Type extends StatusEvent['type']>(
  client: Client,
  type: Type,
): Promise<Extract<StatusEvent, { type: Type }>> {
  for await (const event of client.status())
    if (event.type === type) return event as Extract<StatusEvent, { type: Type }>
  throw new Error(`the client ended without ${type}`)
}
