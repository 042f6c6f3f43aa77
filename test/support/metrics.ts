/** What `GET /metrics` answered, sample by sample. */
export class Samples {
  /** `name{label="value",…}` with the labels in alphabetical order → value. */
  readonly #values = new Map<string, number>()
  readonly text: string

  constructor(text: string) {
    this.text = text
    for (const line of text.split('\n')) {
      if (line === '' || line.startsWith('#')) continue
      const [, name = '', labels = '', value = ''] =
        /^([a-zA-Z_:][\w:]*)(?:\{(.*)\})? (\S+)$/.exec(line) ?? []
      if (name === '') throw new Error(`no sample: ${line}`)
      this.#values.set(key(name, labelsOf(labels)), Number(value))
    }
  }

  /** The sample with exactly these labels; undefined where there is none. */
  value(name: string, labels: Readonly<Record<string, string>> = {}): number | undefined {
    return this.#values.get(key(name, labels))
  }

  /** Metrics that it tells of, be it that there is no sample yet. */
  get families(): Set<string> {
    return new Set([...this.text.matchAll(/^# TYPE (\S+)/gm)].map(([, name = '']) => name))
  }

  /** Names of all samples. */
  get names(): Set<string> {
    return new Set([...this.#values.keys()].map((one) => one.replace(/\{.*/, '')))
  }

  /** Every value that a label has. */
  valuesOf(label: string): Set<string> {
    return new Set(
      [...this.text.matchAll(new RegExp(`[{,]${label}="([^"]*)"`, 'g'))].map(([, one = '']) => one),
    )
  }
}

const labelsOf = (text: string): Record<string, string> =>
  Object.fromEntries([...text.matchAll(/(\w+)="([^"]*)"/g)].map(([, name = '', value = '']) => [name, value]))

const key = (name: string, labels: Readonly<Record<string, string>>): string =>
  `${name}{${Object.entries(labels)
    .map(([label, value]) => `${label}=${value}`)
    .toSorted()
    .join()}}`

/** Asks a hub for its metrics. */
export async function scrape({ httpUrl }: { readonly httpUrl: string }): Promise<Samples> {
  const response = await fetch(`${httpUrl}/metrics`)
  if (response.status !== 200) throw new Error(`/metrics answers ${response.status}`)
  return new Samples(await response.text())
}
