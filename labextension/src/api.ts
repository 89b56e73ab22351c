/**
 * The routes of the server extension as functions, and what they answer.
 *
 * The same shapes stand in `llmops_jupyter/server/openapi.yaml`; a test holds the two together. Times are
 * ISO 8601 in UTC unless the name says nanoseconds (`_ns`); sizes are bytes; shares lie between 0 and 1.
 */
import { ServerConnection } from '@jupyterlab/services';

import { ask, IAnswer, IRequest } from './request';

/** A page of a list. `next` is the cursor of the following page, null at the end. */
export interface IPage<T> {
  items: T[];
  next: string | null;
}

/** A store below the server's root folder. `path` is relative to that root, for people to read. */
export interface IWorkspace {
  id: string;
  name: string;
  path: string;
  size: number;
  changed_at: string;
}

/** One string for each section; it differs from an earlier one if the section's content may. */
export type Versions = Record<Topic, string>;
export type Topic =
  'traces' | 'prompts' | 'evaluations' | 'models' | 'indexes' | 'monitor';

/** What the status bar shows. `models` are those that worker processes have loaded now. */
export interface IStatus {
  models: ILoaded[];
  last: { model: string; tokens_per_s: number | null; at: string } | null;
  alerts: { warning: number; alert: number };
}

export interface ILoaded {
  model: string;
  memory: number | null;
  process_id: number;
}

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

export interface IPromptSummary {
  name: string;
  latest: number;
  versions: number;
  aliases: Record<string, number>;
  split: string | null;
  saved_at: string;
  traces: number;
  preview: string;
}

export interface IPromptVersion {
  version: number;
  saved_at: string;
  note: string;
  aliases: string[];
  /** The cell that would make this version, with its `%%prompt` line. */
  cell: string;
  template: string;
  settings: Record<string, unknown>;
  traces: number;
}

export interface IAliasChange {
  alias: string;
  version: number | null;
  previous: number | null;
  at: string;
  note: string;
}

/** Versions from the newest to the oldest. `back` is the version to which a roll-back of an alias would go. */
export interface IPrompt {
  name: string;
  versions: IPromptVersion[];
  aliases: Record<string, number>;
  back: Record<string, number>;
  log: IAliasChange[];
  split: { alias: string; arms: Record<string, number>; words: string } | null;
}

/** A line of a difference: kept, added in `b`, removed from `a`, or a gap of equal lines. */
export interface IDiffLine {
  kind: 'same' | 'added' | 'removed' | 'gap';
  text: string;
  a: number | null;
  b: number | null;
}

export interface IDiff {
  a: string;
  b: string;
  parts: { title: string; lines: IDiffLine[] }[];
}

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

export interface IModel {
  name: string;
  kind: string;
  architecture: string;
  quantization: string;
  size: number | null;
  context: number | null;
  memory: number | null;
  loaded: boolean;
  is_default: boolean;
  missing: boolean;
  adapters: IAdapter[];
  tuned: ITuned[];
}

export interface IAdapter {
  name: string;
  version: number;
  aliases: string[];
  run: string | null;
  saved_at: string;
}

export interface ITuned {
  copy: string;
  size: number | null;
  tokens_per_s: number | null;
  perplexity: IEstimate | null;
  chosen: boolean;
}

export interface ITraining {
  id: string;
  name: string;
  model: string;
  status: string;
  started_at: string;
  step: number;
  steps: number;
  left_s: number | null;
  tokens_per_s: number | null;
  train: [number, number][];
  evaluation: [number, number][];
  samples: { prompt: string; before: string; after: string }[];
  words: string;
}

export interface IIndex {
  name: string;
  documents: number;
  passages: number;
  embedder: string;
  size: number;
  changed_at: string;
  health: { state: 'ok' | 'warning' | 'alert'; words: string }[];
}

/** `marked` are pairs of offsets (from, to) in `text`, as JavaScript counts, that hold a word of the question. */
export interface IHit {
  text: string;
  source: string;
  locator: string;
  score: number;
  words: number | null;
  vectors: number | null;
  marked: [number, number][];
}

/** `legs` says which ways of searching took part; the server loads no model for it. */
export interface IHits {
  hits: IHit[];
  legs: ('words' | 'vectors')[];
  note: string;
}

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

/** The newest version that each cell of a notebook has made or run. */
export interface ICell {
  cell_id: string;
  prompt: string;
  version: number;
  latest: number;
  trace_id: string;
}

/** All calls of one workspace. Each may throw an ApiError. */
export class Client {
  constructor(
    readonly settings: ServerConnection.ISettings,
    readonly workspace: string
  ) {}

  static async workspaces(
    settings: ServerConnection.ISettings
  ): Promise<IWorkspace[]> {
    const { body } = await ask<{ items: IWorkspace[] }>(settings, 'workspaces');
    return body?.items ?? [];
  }

  versions(etag?: string, signal?: AbortSignal): Promise<IAnswer<Versions>> {
    return this.ask('versions', { etag, signal });
  }

  status(): Promise<IStatus> {
    return this.get('status');
  }

  traces(
    filters: ITraceFilters = {},
    cursor?: string,
    limit = 100,
    signal?: AbortSignal
  ): Promise<IPage<ITraceSummary>> {
    return this.get('traces', { ...filters, cursor, limit }, signal);
  }

  trace(id: string): Promise<ITrace> {
    return this.get(`traces/${encodeURIComponent(id)}`);
  }

  facets(): Promise<IFacets> {
    return this.get('facets');
  }

  score(
    trace: string,
    name: string,
    value: number | string | boolean,
    explanation = ''
  ): Promise<IScore> {
    return this.send('POST', `traces/${encodeURIComponent(trace)}/scores`, {
      name,
      value,
      explanation
    });
  }

  /** Add traces as rows to a data set, which becomes a new version; it is made if there is none. */
  collect(
    dataset: string,
    traces: string[]
  ): Promise<{ name: string; version: number; rows: number; added: number }> {
    return this.send('POST', `datasets/${encodeURIComponent(dataset)}/traces`, {
      traces
    });
  }

  datasets(): Promise<
    IPage<{ name: string; version: number; rows: number; saved_at: string }>
  > {
    return this.get('datasets');
  }

  prompts(): Promise<IPage<IPromptSummary>> {
    return this.get('prompts');
  }

  prompt(name: string): Promise<IPrompt> {
    return this.get(`prompts/${encodeURIComponent(name)}`);
  }

  diff(name: string, a: number, b: number): Promise<IDiff> {
    return this.get(`prompts/${encodeURIComponent(name)}/diff`, { a, b });
  }

  /** Move an alias. `expected` is where it points now as far as the caller knows (null: nowhere); else 409. */
  promote(
    name: string,
    alias: string,
    version: number,
    expected: number | null,
    note = ''
  ): Promise<IPrompt> {
    return this.send(
      'PUT',
      `prompts/${encodeURIComponent(name)}/aliases/${encodeURIComponent(alias)}`,
      { version, expected, note }
    );
  }

  /** Point an alias to where it pointed before. */
  rollback(
    name: string,
    alias: string,
    expected: number,
    note = ''
  ): Promise<IPrompt> {
    return this.send(
      'POST',
      `prompts/${encodeURIComponent(name)}/aliases/${encodeURIComponent(alias)}/rollback`,
      { expected, note }
    );
  }

  evaluations(cursor?: string): Promise<IPage<IRunSummary>> {
    return this.get('evaluations', { cursor });
  }

  /** Compare two kept runs by a metric; slices by a column of the data. It counts as no further look. */
  compare(
    a: string,
    b: string,
    metric: string,
    slices?: string
  ): Promise<IComparison> {
    return this.get('comparison', { a, b, metric, slices });
  }

  models(): Promise<IPage<IModel>> {
    return this.get('models');
  }

  trainings(): Promise<IPage<ITraining>> {
    return this.get('trainings');
  }

  training(id: string): Promise<ITraining> {
    return this.get(`trainings/${encodeURIComponent(id)}`);
  }

  indexes(): Promise<IPage<IIndex>> {
    return this.get('indexes');
  }

  search(
    index: string,
    q: string,
    k = 10,
    signal?: AbortSignal
  ): Promise<IHits> {
    return this.get(
      `indexes/${encodeURIComponent(index)}/search`,
      { q, k },
      signal
    );
  }

  /** `since` as an age (24h, 7d) or a date. */
  monitor(since = '7d'): Promise<IMonitor> {
    return this.get('monitor', { since });
  }

  cells(notebook: string): Promise<{ items: ICell[] }> {
    return this.get('cells', { notebook });
  }

  private async get<T>(
    path: string,
    query: IRequest['query'] = {},
    signal?: AbortSignal
  ): Promise<T> {
    return (await this.ask<T>(path, { query, signal })).body as T;
  }

  private async send<T>(
    method: 'POST' | 'PUT' | 'DELETE',
    path: string,
    body: unknown
  ): Promise<T> {
    return (await this.ask<T>(path, { method, body })).body as T;
  }

  private ask<T>(path: string, request: IRequest): Promise<IAnswer<T>> {
    return ask(
      this.settings,
      `workspaces/${encodeURIComponent(this.workspace)}/${path}`,
      request
    );
  }
}
