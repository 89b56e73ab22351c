export interface IMonitor {
  rules: IRule[];
  events: IAlarm[];
  /** One point a bucket of time, oldest first. */
  timeline: ITraffic[];
  bucket_s: number;
  drift: IDrift[];
  costs: ICost[];
  budgets: IBudget[];
}

/**
 * `unit` is '%' where value and threshold are shares from 0 to 1, else such as 's', '$' or ''. `traces` is a place in
 * the traces section that shows what is watched, such as 'prompt:support status:error'; '' where it is no traces.
 */
export interface IRule {
  name: string;
  state: 'ok' | 'warning' | 'alert' | 'no data';
  value: number | null;
  threshold: number | null;
  unit: string;
  traces: string;
  words: string;
  since: string | null;
  silenced_until: string | null;
}

export interface IAlarm {
  at: string;
  rule: string;
  from: string;
  to: string;
  words: string;
}

export interface ITraffic {
  at: string;
  calls: number;
  errors: number;
  latency_p50_s: number | null;
  latency_p95_s: number | null;
  input_tokens: number;
  output_tokens: number;
  cost: number | null;
}

export interface IDrift {
  id: string;
  at: string;
  baseline: string;
  drifted: boolean;
  words: string;
  features: { name: string; p_value: number | null; drifted: boolean }[];
}

export interface ICost {
  name: string;
  calls: number;
  input_tokens: number;
  output_tokens: number;
  cost: number | null;
  source: 'measured' | 'estimated' | 'assumed';
}

export interface IBudget {
  name: string;
  unit: string;
  used: number;
  limit: number;
  per: string;
}
