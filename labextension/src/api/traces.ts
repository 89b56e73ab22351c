export type Status = 'open' | 'ok' | 'error' | 'interrupted';

export interface ITraceSummary {
  trace_id: string;
  name: string;
  started_at: string;
  duration_s: number | null;
  status: Status;
  prompt: string;
  model: string;
  input_tokens: number | null;
  output_tokens: number | null;
  preview: string;
  notebook: string;
  session: string;
}

export interface IMessage {
  role: string;
  content: string;
  tool_calls?: { name: string; arguments: unknown; id?: string }[];
  [more: string]: unknown;
}

export interface IFigure {
  value: number;
  unit: string;
  source: 'measured' | 'estimated' | 'assumed';
  note: string;
}

export interface ISpan {
  span_id: string;
  parent_id: string | null;
  name: string;
  op: string;
  kind: string;
  start_ns: number;
  end_ns: number | null;
  first_token_ns: number | null;
  duration_s: number | null;
  status: Status;
  error_type: string | null;
  error_message: string | null;
  provider: string | null;
  model: string | null;
  model_digest: string | null;
  prompt: string;
  session: string | null;
  seed: number | null;
  input_tokens: number | null;
  output_tokens: number | null;
  cached_tokens: number | null;
  cost: number | null;
  resources: Record<string, IFigure> | null;
  input: IMessage[];
  output: IMessage[];
  attributes: Record<string, unknown>;
  schema_url: string;
}

export interface IScore {
  trace_id: string;
  span_id: string | null;
  name: string;
  value: number | null;
  label: string | null;
  explanation: string;
  source: string;
  identifier: string;
  at: string;
}

/** `application/vnd.llmops.trace.v1+json`. Nanoseconds lose their last digits in a JavaScript number. */
export interface ITrace {
  trace_id: string;
  started_at: string;
  status: Status;
  notebook: string | null;
  cell_id: string | null;
  execution_count: number | null;
  kernel_id: string | null;
  spans: ISpan[];
  scores: IScore[];
}

/** `notebook` is a part of the path; `q` full text; `score` a name or NAME=LABEL. */
export interface ITraceFilters {
  q?: string;
  prompt?: string;
  model?: string;
  status?: Status;
  notebook?: string;
  session?: string;
  since?: string;
  until?: string;
  score?: string;
}

/** Values to filter by, each with how many of the newest traces have it. */
export interface IFacets {
  prompts: IFacet[];
  models: IFacet[];
  notebooks: IFacet[];
  sessions: IFacet[];
  scores: IFacet[];
  total: number;
}

export interface IFacet {
  value: string;
  count: number;
}
