import { expect, test } from 'vitest'
import { mergeMetrics } from '../../src/cli/merge-metrics.ts'

test('the metrics of workers become one text, each sample with its worker and each metric once', () => {
  const text = (value: number): string =>
    [
      '# HELP a_total What a is.',
      '# TYPE a_total counter',
      `a_total{kind="x{ y",of=" "} ${value}`,
      '',
      '# HELP b What b is.',
      '# TYPE b gauge',
      `b ${value}`,
      '',
    ].join('\n')
  expect(
    mergeMetrics(
      new Map([
        [1, text(1)],
        [2, `${text(2)}\n# HELP c Of one alone.\n# TYPE c gauge\nc 3\n`],
      ]),
    ),
  ).toBe(
    [
      '# HELP a_total What a is.',
      '# TYPE a_total counter',
      'a_total{worker="1",kind="x{ y",of=" "} 1',
      'a_total{worker="2",kind="x{ y",of=" "} 2',
      '',
      '# HELP b What b is.',
      '# TYPE b gauge',
      'b{worker="1"} 1',
      'b{worker="2"} 2',
      '',
      '# HELP c Of one alone.',
      '# TYPE c gauge',
      'c{worker="2"} 3',
      '',
    ].join('\n'),
  )
})
