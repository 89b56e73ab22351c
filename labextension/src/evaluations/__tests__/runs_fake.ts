import { IChangedRow, IComparison, IRunSummary } from '../../api';

export function run(id: string, more: Partial<IRunSummary> = {}): IRunSummary {
  return {
    id,
    label: `support@${id}`,
    kind: '',
    data: 'tickets@2',
    started_at: `2026-01-01T10:00:${id.padStart(2, '0')}Z`,
    finished: true,
    rows: 200,
    metrics: {
      exact: {
        value: 0.84,
        low: 0.79,
        high: 0.88,
        n: 200,
        drawn: 'rate',
        unit: ''
      },
      latency: {
        value: 1.5,
        low: null,
        high: null,
        n: 1,
        drawn: 'mean',
        unit: 's'
      }
    },
    ...more
  };
}

export function changed(
  row: string,
  more: Partial<IChangedRow> = {}
): IChangedRow {
  return {
    row,
    input: 'Where is my order?',
    expected: 'order',
    a: 'Category: invoice',
    b: 'Category: order',
    a_score: 0,
    b_score: 1,
    a_trace: '',
    b_trace: '',
    better: 'b',
    ...more
  };
}

export function comparison(more: Partial<IComparison> = {}): IComparison {
  return {
    a: 'support@1',
    b: 'support@2',
    metric: 'exact',
    words:
      'support@2 is better than support@1 on exact by 4.0 points (95% interval +1.0 to +7.0 points, n = 200)',
    verdict: 'better',
    drawn: 'rate',
    unit: '',
    higher_is_better: true,
    a_value: 0.8,
    b_value: 0.84,
    difference: { value: 0.04, low: 0.01, high: 0.07, n: 200 },
    p_value: 0.012,
    level: 0.95,
    look: 1,
    notes: ['tickets@2 was looked at 3 times'],
    slices: [],
    columns: ['question', 'topic'],
    n_changed: 2,
    changed: [
      changed('r-1', { better: 'a', a_score: 1, b_score: 0 }),
      changed('r-2', { a_trace: 'trace-a', b_trace: 'trace-b' })
    ],
    ...more
  };
}
