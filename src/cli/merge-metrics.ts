interface Family {
  readonly head: string[]
  readonly samples: string[]
}

/** `name{a="b"} 1` or `name 1`, with one label more. */
function withWorker(sample: string, worker: number): string {
  // No name has a brace or a space, and a value of a label comes after the first brace.
  const at = sample.search(/[{ ]/)
  const label = `worker="${worker}"`
  const name = sample.slice(0, at)
  return sample[at] === '{'
    ? `${name}{${label},${sample.slice(at + 1)}`
    : `${name}{${label}}${sample.slice(at)}`
}

/** The metrics of several workers as one text: each sample has the label `worker`, and each metric stands once. */
export function mergeMetrics(texts: ReadonlyMap<number, string>): string {
  const families = new Map<string, Family>()
  for (const [worker, text] of texts) {
    let family: Family = { head: [], samples: [] }
    let isKnown = false
    for (const line of text.split('\n')) {
      if (line === '') continue
      if (line.startsWith('# HELP ')) {
        const name = line.split(' ')[2] ?? ''
        const known = families.get(name)
        isKnown = known !== undefined
        family = known ?? { head: [], samples: [] }
        families.set(name, family)
      }
      if (!line.startsWith('#')) family.samples.push(withWorker(line, worker))
      else if (!isKnown) family.head.push(line)
    }
  }
  const parts = Array.from(families.values(), ({ head, samples }) => [...head, ...samples].join('\n'))
  return `${parts.join('\n\n')}\n`
}
