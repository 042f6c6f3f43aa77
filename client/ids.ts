/** Bytes that make 16 characters of base64. */
const BYTES = 12

/**
 * 16 random characters of `[A-Za-z0-9.-]` (96 bits), for producers and correlation ids. Not `crypto.randomUUID`: browsers have that
 * one only on secure origins.
 */
export function randomId(): string {
  const bytes = crypto.getRandomValues(new Uint8Array(BYTES))
  return btoa(String.fromCharCode(...bytes))
    .replaceAll('+', '-')
    .replaceAll('/', '.')
}
