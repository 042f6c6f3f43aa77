import type { Entry } from './messages.ts'

/** What is wrong with a value. */
export interface SchemaIssue {
  readonly message: string
  /** Where in the value. */
  readonly path?: readonly (PropertyKey | { readonly key: PropertyKey })[] | undefined
}

/** What a schema says of a value: what it makes of it, or what is wrong. */
export type SchemaResult<Output> =
  | { readonly value: Output; readonly issues?: undefined }
  | { readonly issues: readonly SchemaIssue[] }

/** A schema of any library that has the common interface, version 1 (https://standardschema.dev): zod, valibot, arktype … */
export interface StandardSchema<Input = unknown, Output = Input> {
  readonly '~standard': {
    readonly version: 1
    readonly vendor: string
    readonly validate: (value: unknown) => SchemaResult<Output> | Promise<SchemaResult<Output>>
    readonly types?: { readonly input: Input; readonly output: Output } | undefined
  }
}

interface ExchangeSchemas {
  readonly payload: StandardSchema
  readonly reply: StandardSchema
}

/** Schemas by message type: of the payload, or of payload and reply. */
export type Schemas = Readonly<Record<string, StandardSchema | ExchangeSchemas>>

type TypesOf<Schema extends StandardSchema> = NonNullable<Schema['~standard']['types']>
type InputOf<Schema extends StandardSchema> = TypesOf<Schema>['input']
type OutputOf<Schema extends StandardSchema> = TypesOf<Schema>['output']

/** The map of messages that schemas describe: what is sent is their input, what is received their output. */
export type MessagesOf<Given extends Schemas> = {
  readonly [Type in keyof Given]: Given[Type] extends StandardSchema
    ? Entry<InputOf<Given[Type]>, OutputOf<Given[Type]>>
    : Given[Type] extends ExchangeSchemas
      ? Entry<
          InputOf<Given[Type]['payload']>,
          OutputOf<Given[Type]['payload']>,
          InputOf<Given[Type]['reply']>,
          OutputOf<Given[Type]['reply']>
        >
      : never
}
