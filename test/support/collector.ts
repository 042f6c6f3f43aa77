import type { Client } from '../../client/api.ts'

/** Collects payloads; `has(n)` resolves when there are n. */
export function collector(client: Client) {
  const payloads: unknown[] = []
  let check = (): void => undefined
  client.onMessage(({ payload }) => {
    payloads.push(payload)
    check()
  })
  const has = (count: number): Promise<unknown[]> =>
    new Promise((resolve) => {
      check = () => {
        if (payloads.length >= count) resolve(payloads)
      }
      check()
    })
  return { payloads, has }
}
