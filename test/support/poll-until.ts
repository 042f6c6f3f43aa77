/** Resolves when `holds` does; asks every 20 ms, and takes a failure for a no. Rejects with `failure` after `timeoutMs`. */
export async function pollUntil(
  holds: () => Promise<boolean>,
  timeoutMs: number,
  failure: string,
): Promise<void> {
  const deadline = Date.now() + timeoutMs
  while (!(await holds().catch(() => false))) {
    if (Date.now() > deadline) throw new Error(failure)
    await new Promise((resolve) => setTimeout(resolve, 20))
  }
}
