import { z } from 'zod'

type Json = Readonly<Record<string, unknown>>

interface Answer<Body> {
  readonly status: number
  readonly headers: Headers
  readonly json: Body
}

interface ErrorAnswer {
  readonly code: string
  readonly message: string
  readonly remedy?: string
  readonly retryable: boolean
}

interface Documented {
  readonly responses: Readonly<
    Record<string, { readonly content?: Readonly<Record<string, { schema: Json }>> }>
  >
}

export interface OpenApi {
  readonly openapi: string
  readonly info: Json
  readonly paths: Readonly<Record<string, Readonly<Record<string, Documented & Json>>>>
  readonly components: { readonly schemas: Readonly<Record<string, Json>> }
}

const BASE = '/api/v1'

/** A schema with what it points to in its place, which has no field that it does not tell. */
function resolve(schema: unknown, document: OpenApi): unknown {
  if (Array.isArray(schema)) return schema.map((one) => resolve(one, document))
  if (typeof schema !== 'object' || schema === null) return schema
  const { $ref, ...rest } = schema as Json
  if (typeof $ref === 'string')
    return resolve(document.components.schemas[$ref.split('/').at(-1) ?? ''], document)
  const inner = Object.fromEntries(
    Object.entries(rest).map(([key, value]) => [key, resolve(value, document)]),
  )
  if (inner['properties'] !== undefined && inner['additionalProperties'] === undefined)
    inner['additionalProperties'] = false
  return inner
}

/** What the document's schema refuses of a value; null where it fits. */
export function misfit(document: OpenApi, schema: Json, value: unknown): string | null {
  const parsed = z
    .fromJSONSchema(resolve(schema, document) as Parameters<typeof z.fromJSONSchema>[0])
    .safeParse(value)
  return parsed.success ? null : z.prettifyError(parsed.error)
}

/** The operations API of one hub. Every answer is held against the document that the hub itself gives of it. */
export class Api {
  readonly url: string
  #document: Promise<OpenApi> | null = null

  constructor(hub: { readonly httpUrl: string } | string) {
    this.url = (typeof hub === 'string' ? hub : hub.httpUrl) + BASE
  }

  /** @throws Error where the answer is not as documented */
  async request<Body = unknown>(method: string, path: string, init: RequestInit = {}): Promise<Answer<Body>> {
    const response = await fetch(this.url + path, { signal: AbortSignal.timeout(10_000), ...init, method })
    const text = await response.text()
    const json: unknown = text === '' ? null : JSON.parse(text)
    const { status, headers } = response
    await this.#check(method, path, status, json)
    return { status, headers, json: json as Body }
  }

  async document(): Promise<OpenApi> {
    this.#document ??= fetch(`${this.url}/openapi.json`).then(
      (response) => response.json() as Promise<OpenApi>,
    )
    return this.#document
  }

  async #check(method: string, path: string, status: number, json: unknown): Promise<void> {
    const document = await this.document()
    const [plain = ''] = path.split('?')
    const found = Object.entries(document.paths).find(([template]) =>
      new RegExp(`^${template.replace(/\{\w+\}/g, '[^/]+')}$`).test(BASE + plain),
    )
    const documented = found?.[1][method.toLowerCase()]
    // What is not there is told as any error is.
    const schema =
      documented === undefined && status >= 400
        ? { $ref: '#/components/schemas/Error' }
        : documented?.responses[status]?.content?.['application/json']?.schema
    const where = `${method} ${path} answers ${status}`
    if (schema === undefined && json === null && documented?.responses[status]) return
    if (schema === undefined) throw new Error(`${where}, which is not documented: ${JSON.stringify(json)}`)
    const wrong = misfit(document, schema, json)
    if (wrong !== null) throw new Error(`${where}, against its schema: ${wrong} ${JSON.stringify(json)}`)
  }

  /** The body of an answer that is no error. */
  async get<Body = Json>(path: string): Promise<Body> {
    return this.#ok(await this.request<Body>('GET', path))
  }

  async post<Body = Json>(path: string, body: unknown): Promise<Body> {
    return this.#ok(await this.request<Body>('POST', path, json(body)))
  }

  /** @throws Error unless the answer is 204 */
  async delete(path: string): Promise<void> {
    const { status, json: body } = await this.request('DELETE', path)
    if (status !== 204) throw new Error(`DELETE ${path}: ${status} ${JSON.stringify(body)}`)
  }

  #ok<Body>({ status, json: body }: Answer<Body>): Body {
    if (status < 300) return body
    throw new Error(`${status} ${JSON.stringify(body)}`)
  }

  /** Status and error of a request that is refused. */
  async refused(
    method: string,
    path: string,
    init: RequestInit = {},
  ): Promise<{ readonly status: number; readonly headers: Headers } & ErrorAnswer> {
    const { status, headers, json: body } = await this.request<{ error: ErrorAnswer }>(method, path, init)
    if (status < 400) throw new Error(`${method} ${path} is not refused: ${status} ${JSON.stringify(body)}`)
    return { status, headers, ...body.error }
  }
}

/** A request with a body. */
export const json = (body: unknown): RequestInit => ({
  headers: { 'content-type': 'application/json' },
  body: typeof body === 'string' ? body : JSON.stringify(body),
})
