import { build } from 'esbuild'
import { expect, it } from 'vitest'
import { ROOT, runNode } from '../support/run.ts'

it('the codec works as a bundle for browsers, where nothing of Node is', async () => {
  const source = `
    import { decode, encode } from './src/mxp/index.ts'
    const payload = new TextEncoder().encode('{"capability":"nlp"}')
    const bytes = encode({ type: 'AgentDiscover', flags: 0, messageId: 3n, traceId: 4n, payload })
    const { type, messageId } = decode(bytes)
    console.log(type, messageId, [...bytes.subarray(-8)].map((byte) => byte.toString(16).padStart(2, '0')).join(''))
  `
  const { outputFiles } = await build({
    stdin: { contents: source, resolveDir: ROOT, loader: 'ts' },
    bundle: true,
    format: 'esm',
    platform: 'browser',
    target: 'es2022',
    write: false,
  })
  const [bundle] = outputFiles
  // A browser has no Buffer either.
  const ended = await runNode(
    ['--input-type=module', '-'],
    {},
    `delete globalThis.Buffer\n${bundle?.text ?? ''}`,
  )
  expect(ended).toEqual({ code: 0, output: 'AgentDiscover 3n b2b20368074aba61\n', errors: '' })
  // Of the package with all its hash functions, the one that is needed.
  expect(bundle?.text.length).toBeLessThan(100_000)
})
