const ALPHABET = 'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789.-'

/**
 * 16 random characters (96 bits), for producers and correlation ids. Not `crypto.randomUUID`: browsers have that one only on
 * secure origins.
 */
export function randomId(): string {
  let id = ''
  for (const byte of crypto.getRandomValues(new Uint8Array(16))) id += ALPHABET.charAt(byte & 63)
  return id
}
