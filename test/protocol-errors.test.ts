import { describe, expect, it } from 'vitest'
import { errorBody, ERRORS } from '../protocol/error-table.ts'
import { MeshError } from '../protocol/errors.ts'
import type { ErrorBody, ErrorCode } from '../protocol/errors.ts'

const CODES = Object.keys(ERRORS) as ErrorCode[]

describe('an error of the protocol', () => {
  it.each(CODES)('%s is as retryable as the table says, without the table', (code) => {
    expect(new MeshError(code, 'what').retryable).toBe(ERRORS[code].retryable)
  })

  it.each(CODES)('%s travels with its remedy, and arrives as it left', (code) => {
    const body = errorBody(new MeshError(code, 'what', { retryAfterMs: 5 }))
    const { retryable, remedy } = ERRORS[code]
    expect(body).toEqual({ code, message: 'what', retryable, retryAfterMs: 5, remedy })
    const error = MeshError.fromBody(JSON.parse(JSON.stringify(body)) as ErrorBody)
    expect(error).toMatchObject({ name: 'MeshError', ...body })
  })

  it('of a hub that sends no remedy has one all the same', () => {
    const body = (retryable: boolean): ErrorBody => ({
      code: 'internal',
      message: 'what',
      retryable,
      retryAfterMs: null,
    })
    expect(MeshError.fromBody(body(true)).remedy).toBe('Try again later.')
    expect(MeshError.fromBody(body(false)).remedy).toBe('Change what the message names.')
  })

  it('of a later hub keeps its code, and is as retryable as that hub says', () => {
    const body = {
      code: 'too_hot',
      message: 'wait',
      retryable: true,
      retryAfterMs: 9,
    } as unknown as ErrorBody
    expect(MeshError.fromBody(body)).toMatchObject({ code: 'too_hot', retryable: true, retryAfterMs: 9 })
  })

  it('that is not the protocol’s goes out as internal', () => {
    expect(errorBody(new MeshError('timeout', 'late'))).toMatchObject({ code: 'internal', retryable: true })
  })
})
