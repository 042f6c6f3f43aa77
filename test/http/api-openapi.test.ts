import { expect, test } from 'vitest'
import { z } from 'zod'
import { MeshError } from '../../protocol/errors.ts'
import { parseSettings } from '../../src/parse-settings.ts'
import { createApp } from '../../src/http/app.ts'
import { errorAnswer } from '../../src/http/routes/api/errors.ts'
import { Hub } from '../../src/hub/hub.ts'
import { createLog } from '../../src/observability/log.ts'
import { createMemoryCore, VERSION } from '../../src/server.ts'
import { Api, type OpenApi } from '../support/api.ts'
import { withSecret } from '../support/authentication.ts'
import { startTestHub } from '../support/hubs.ts'

type Json = Readonly<Record<string, unknown>>

/** The routes that the server has, as OpenAPI writes them, and the document that it gives of them. */
async function look(): Promise<{ routes: string[]; document: OpenApi }> {
  const settings = parseSettings({ logLevel: 'silent' })
  const core = createMemoryCore({ limits: settings })
  const app = createApp(new Hub({ core, settings, log: createLog('silent') }), VERSION)
  const routes: string[] = []
  app.addHook('onRoute', ({ method, url }) => {
    for (const one of [method].flat())
      if (url.startsWith('/api/v1') && one !== 'HEAD')
        routes.push(`${one.toLowerCase()} ${url.replace(/:(\w+)/g, '{$1}')}`)
  })
  const { body, statusCode, headers } = await app.inject('/api/v1/openapi.json')
  expect(statusCode).toBe(200)
  expect(headers['content-type']).toMatch(/^application\/json/)
  await app.close()
  await core.close()
  return { routes, document: JSON.parse(body) as OpenApi }
}

const operationsOf = ({ paths }: OpenApi) =>
  Object.entries(paths).flatMap(([path, item]) =>
    Object.entries(item).map(([method, operation]) => ({ path, method, operation })),
  )

/** Every value of a tree that `pick` answers something of. */
function collect<T>(value: unknown, pick: (one: Json) => T | undefined): T[] {
  if (typeof value !== 'object' || value === null) return []
  const own = Array.isArray(value) ? undefined : pick(value as Json)
  return [...(own === undefined ? [] : [own]), ...Object.values(value).flatMap((one) => collect(one, pick))]
}

// What OpenAPI 3.1 says that such a document has to be, as far as this one uses it.
const schema = z.union([z.boolean(), z.record(z.string(), z.unknown())])
const content = z.record(z.string(), z.strictObject({ schema }))
const security = z.array(z.partialRecord(z.enum(['bearer', 'basic']), z.tuple([])))
const document31 = z.strictObject({
  openapi: z.literal('3.1.0'),
  info: z.strictObject({
    title: z.string().min(1),
    version: z.string().min(1),
    description: z.string(),
    license: z.strictObject({ name: z.literal('MIT'), identifier: z.literal('MIT') }),
  }),
  servers: z.tuple([z.strictObject({ url: z.literal('/'), description: z.string() })]),
  security,
  paths: z.record(
    z.string().startsWith('/'),
    z.partialRecord(
      z.enum(['get', 'post', 'delete']),
      z.strictObject({
        operationId: z.string().regex(/^[a-zA-Z]+$/),
        tags: z.array(z.string()).length(1),
        summary: z.string().min(1),
        description: z.string().optional(),
        security: z.tuple([]).optional(),
        parameters: z.array(
          z.strictObject({
            name: z.string(),
            in: z.enum(['path', 'query', 'header']),
            required: z.boolean(),
            description: z.string().optional(),
            style: z.enum(['form', 'deepObject']).optional(),
            explode: z.literal(true).optional(),
            schema,
          }),
        ),
        requestBody: z.strictObject({ required: z.literal(true), content }).optional(),
        responses: z.record(
          z.string().regex(/^[2-5]\d\d$/),
          z.strictObject({
            description: z.string().min(1),
            headers: z.record(z.string(), z.strictObject({ description: z.string(), schema })).optional(),
            content: content.optional(),
          }),
        ),
      }),
    ),
  ),
  components: z.strictObject({
    securitySchemes: z.strictObject({
      bearer: z.strictObject({
        type: z.literal('http'),
        scheme: z.literal('bearer'),
        description: z.string(),
      }),
      basic: z.strictObject({ type: z.literal('http'), scheme: z.literal('basic'), description: z.string() }),
    }),
    schemas: z.record(z.string().regex(/^[A-Za-z]+$/), schema),
  }),
})

test('the document is OpenAPI 3.1', async () => {
  const { document } = await look()
  expect(document31.safeParse(document).error).toBeUndefined()
  expect(document.info['version']).toBe(VERSION)
  const ids = operationsOf(document).map(({ operation }) => operation['operationId'])
  expect(new Set(ids).size).toBe(ids.length)
})

test('every parameter of a path is in it, once, and required', async () => {
  const { document } = await look()
  for (const { path, operation } of operationsOf(document)) {
    const inPath = [...path.matchAll(/\{(\w+)\}/g)].map(([, name]) => name)
    const parameters = operation['parameters'] as readonly { name: string; in: string; required: boolean }[]
    expect(
      parameters.filter((one) => one.in === 'path').map(({ name, required }) => [name, required]),
    ).toEqual(inPath.map((name) => [name, true]))
    const names = parameters.map((one) => `${one.in} ${one.name}`)
    expect(new Set(names).size).toBe(names.length)
  }
})

test('whether a token is needed is told, and that the document itself needs none', async () => {
  const { document } = await look()
  expect(document).toMatchObject({ security: [{}, { bearer: [] }, { basic: [] }] })
  await using hub = await startTestHub('memory', await withSecret())
  const asked = await new Api(hub).document()
  expect(asked).toMatchObject({ security: [{ bearer: [] }, { basic: [] }] })
  for (const { path, operation } of operationsOf(asked)) {
    expect([path, operation['security']]).toEqual([path, path.endsWith('/openapi.json') ? [] : undefined])
    expect(operation.responses['401']).toMatchObject({ headers: { 'WWW-Authenticate': {} } })
    for (const status of ['429', '503'])
      expect(operation.responses[status]).toMatchObject({ headers: { 'Retry-After': {} } })
  }
})

test('whatever is pointed to is there, and whatever is there is pointed to', async () => {
  const { document } = await look()
  const targets = collect(document, ({ $ref }) => (typeof $ref === 'string' ? $ref : undefined))
  const schemas = Object.keys(document.components.schemas)
  for (const target of targets) expect(schemas.map((id) => `#/components/schemas/${id}`)).toContain(target)
  for (const id of schemas) expect(targets).toContain(`#/components/schemas/${id}`)
})

test('the routes that there are and those of the document are the same', async () => {
  const { routes, document } = await look()
  expect(routes.length).toBeGreaterThan(10)
  expect(
    operationsOf(document)
      .map(({ path, method }) => `${method} ${path}`)
      .toSorted(),
  ).toEqual(routes.toSorted())
})

test('every operation tells how it fails, and that it may be refused', async () => {
  const { document } = await look()
  for (const { operation } of operationsOf(document)) {
    const statuses = Object.keys(operation.responses)
    expect(statuses).toEqual(expect.arrayContaining(['400', '401', '403', '429', '500', '503']))
    if (operation['requestBody']) expect(statuses).toEqual(expect.arrayContaining(['413', '415', '422']))
  }
})

test('what helps against an error is told for requests, not for connections', async () => {
  const { document } = await look()
  const told = collect(document.paths, ({ description }) =>
    typeof description === 'string' ? /\(([a-z_, ]+)\)$/.exec(description)?.[1]?.split(', ') : undefined,
  )
  const codes = [...new Set(told.flat())]
  expect(codes).toContain('store_unavailable')
  for (const code of codes) {
    const { body } = errorAnswer(new MeshError(code, 'it is so'), false, () => undefined)
    expect([code, body.error.remedy]).toEqual([code, expect.not.stringMatching(/seq|producer|hello|onnect/)])
  }
})
