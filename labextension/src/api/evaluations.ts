/** A mean or a rate with its interval. */
export interface IEstimate {
  value: number | null;
  low: number | null;
  high: number | null;
  n: number;
}

/** What a metric came to in a run. `drawn` is what it is on: 'rate' (0 to 1) or 'mean'. */
export interface IMetric extends IEstimate {
  drawn: 'rate' | 'mean';
  unit: string;
}

export interface IRunSummary {
  id: string;
  label: string;
  kind: string;
  data: string;
  started_at: string;
  finished: boolean;
  rows: number;
  metrics: Record<string, IMetric>;
}

/**
 * `drawn` is what the metric is on: 'rate' (0 to 1) or 'mean'. `level` is that of the intervals, such as 0.95;
 * `columns` are those of the data, for slices.
 */
export interface IComparison {
  a: string;
  b: string;
  metric: string;
  words: string;
  verdict: string;
  drawn: 'rate' | 'mean';
  unit: string;
  higher_is_better: boolean;
  a_value: number | null;
  b_value: number | null;
  difference: IEstimate;
  p_value: number | null;
  level: number;
  look: number;
  notes: string[];
  slices: { name: string; difference: IEstimate }[];
  columns: string[];
  /** How many rows differ; `changed` may hold only those that differ most. */
  n_changed: number;
  changed: IChangedRow[];
}

/** A row on which the two sides differ; `better` says for which. A trace is '' where none is kept. */
export interface IChangedRow {
  row: string;
  input: string;
  expected: string;
  a: string;
  b: string;
  a_score: number | null;
  b_score: number | null;
  a_trace: string;
  b_trace: string;
  better: 'a' | 'b';
}
