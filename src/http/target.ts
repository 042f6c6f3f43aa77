/** What stands before the path where a target is a whole URL, as clients of proxies send it (RFC 9112, 3.2.2). */
const AUTHORITY = /^[a-z][a-z0-9+.-]*:\/\/([^/?#]*)/i

/** Path and query of a request's target. */
export function originForm(target: string): string {
  const rest = target.replace(AUTHORITY, '')
  return rest === target || rest.startsWith('/') ? rest : `/${rest}`
}

/** User, name and port in a target that is a whole URL; null in all others. */
export const authorityOf = (target: string): string | null => AUTHORITY.exec(target)?.[1] ?? null
