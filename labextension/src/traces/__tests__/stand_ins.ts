import { nullTranslator } from '@jupyterlab/translation';
import { Signal } from '@lumino/signaling';

import {
  Client,
  IFacets,
  IPage,
  IScore,
  ISpan,
  ITrace,
  ITraceFilters,
  ITraceSummary,
  Topic
} from '../../api';
import { IHost } from '../../host';
import { ApiError } from '../../request';
import { Watched } from '../../watched';

export const trans = nullTranslator.load('jupyterlab');

/** What must be shown as the letters that it is. */
export const HOSTILE =
  '<script>window.ran = 1</script><img src=x onerror="window.ran = 1"><a href="javascript:window.ran = 1">x</a>' +
  '![x](https://example.invalid/x.png)\u001b[31mred\u202e{{ 7 * 7 }}</bdi></style>';

export const idOf = (number: number): string =>
  number.toString(16).padStart(32, '0');

export function row(
  number: number,
  more: Partial<ITraceSummary> = {}
): ITraceSummary {
  return {
    trace_id: idOf(number),
    name: 'prompt greet@1',
    started_at: '2026-01-31T12:00:00.000+00:00',
    duration_s: 1.5,
    status: 'ok',
    prompt: 'greet@1',
    model: 'smollm2',
    input_tokens: 12,
    output_tokens: 34,
    preview: `answer ${number}`,
    notebook: '/home/me/project/first.ipynb',
    session: '',
    ...more
  };
}

export function span(more: Partial<ISpan> = {}): ISpan {
  return {
    span_id: 'r',
    parent_id: null,
    name: 'prompt greet@1',
    op: 'invoke_workflow',
    kind: 'internal',
    start_ns: 1e18,
    end_ns: 1e18 + 1.5e9,
    first_token_ns: null,
    duration_s: 1.5,
    status: 'ok',
    error_type: null,
    error_message: null,
    provider: 'llama.cpp',
    model: 'smollm2',
    model_digest: null,
    prompt: 'greet@1',
    session: null,
    seed: 7,
    input_tokens: 12,
    output_tokens: 34,
    cached_tokens: null,
    cost: null,
    resources: null,
    input: [{ role: 'user', content: 'Hello' }],
    output: [{ role: 'assistant', content: 'Good day' }],
    attributes: { 'llmops.prompt.variables': { name: 'Ada' } },
    schema_url: '',
    ...more
  };
}

export function trace(more: Partial<ITrace> = {}): ITrace {
  return {
    trace_id: idOf(1),
    started_at: '2026-01-31T12:00:00.000+00:00',
    status: 'ok',
    notebook: '/home/me/project/first.ipynb',
    cell_id: 'abc',
    execution_count: 3,
    kernel_id: 'k',
    spans: [span()],
    scores: [],
    ...more
  };
}

const UP = 'up';

export function score(more: Partial<IScore> = {}): IScore {
  return {
    trace_id: idOf(1),
    span_id: null,
    name: 'thumb',
    value: 1,
    label: UP,
    explanation: '',
    source: 'human',
    identifier: '',
    at: '2026-01-31T12:00:00.000+00:00',
    ...more
  };
}

interface IQuestion {
  filters: ITraceFilters;
  cursor: string | undefined;
  limit: number;
  signal: AbortSignal | undefined;
}

/** A store of traces, newest first; cursors are the number of the last row before. */
export class FakeStore {
  constructor(count = 0) {
    for (let number = count; number > 0; number--) {
      this.rows.push(row(number));
    }
  }

  rows: ITraceSummary[] = [];
  readonly asked: IQuestion[] = [];
  /** What the next answers are instead of pages. */
  faults: ApiError[] = [];
  /** Answers that are held back, to be given one by one. */
  held: (() => void)[] | null = null;

  get count(): number {
    return this.rows.length;
  }

  /** A new trace on top. */
  add(more: Partial<ITraceSummary> = {}): ITraceSummary {
    const newest = this.rows.length ? parseInt(this.rows[0].trace_id, 16) : 0;
    const made = row(newest + 1, more);
    this.rows.unshift(made);
    return made;
  }

  change(number: number, more: Partial<ITraceSummary>): void {
    const at = this.rows.findIndex(one => one.trace_id === idOf(number));
    this.rows[at] = { ...this.rows[at], ...more };
  }

  remove(number: number): void {
    this.rows = this.rows.filter(one => one.trace_id !== idOf(number));
  }

  traces = async (
    filters: ITraceFilters = {},
    cursor?: string,
    limit = 100,
    signal?: AbortSignal
  ): Promise<IPage<ITraceSummary>> => {
    this.asked.push({ filters, cursor, limit, signal });
    const answer = this.page(filters, cursor, limit);
    if (this.held) {
      await new Promise<void>(go => this.held?.push(go));
    }
    const fault = this.faults.shift();
    if (fault) {
      throw fault;
    }
    if (signal?.aborted) {
      throw new DOMException('aborted', 'AbortError');
    }
    return answer;
  };

  private page(
    filters: ITraceFilters,
    cursor: string | undefined,
    limit: number
  ): IPage<ITraceSummary> {
    const from = cursor === undefined ? 0 : this.after(Number(cursor));
    const items: ITraceSummary[] = [];
    let at = from;
    while (at < this.rows.length && items.length < limit) {
      if (fits(this.rows[at], filters)) {
        items.push(this.rows[at]);
      }
      at += 1;
    }
    while (at < this.rows.length && !fits(this.rows[at], filters)) {
      at += 1;
    }
    const more = at < this.rows.length;
    const last = items[items.length - 1];
    return {
      items,
      next: more && last ? String(parseInt(last.trace_id, 16)) : null
    };
  }

  /** The place of the first row that is older than a number. */
  private after(number: number): number {
    let low = 0;
    let high = this.rows.length;
    while (low < high) {
      const middle = (low + high) >> 1;
      if (parseInt(this.rows[middle].trace_id, 16) >= number) {
        low = middle + 1;
      } else {
        high = middle;
      }
    }
    return low;
  }
}

function fits(one: ITraceSummary, filters: ITraceFilters): boolean {
  return (
    (!filters.status || one.status === filters.status) &&
    (!filters.prompt || one.prompt === filters.prompt) &&
    (!filters.model || one.model === filters.model) &&
    (!filters.notebook || one.notebook.endsWith(`/${filters.notebook}`)) &&
    (!filters.q || one.preview.includes(filters.q))
  );
}

/** The calls that the section uses, as mocks where they are not the store's. */
export function clientOf(
  store: FakeStore,
  workspace = 'w'
): Client &
  Record<'trace' | 'facets' | 'score' | 'collect' | 'datasets', jest.Mock> {
  const facets: IFacets = {
    prompts: [
      { value: 'greet@1', count: 9 },
      { value: HOSTILE, count: 1 }
    ],
    models: [{ value: 'smollm2', count: 10 }],
    notebooks: [{ value: '/home/me/project/first.ipynb', count: 10 }],
    sessions: [],
    scores: [{ value: 'thumb=down', count: 2 }],
    total: store.count
  };
  return {
    workspace,
    traces: store.traces,
    trace: jest.fn(async () => trace()),
    facets: jest.fn(async () => facets),
    score: jest.fn(async () => score()),
    collect: jest.fn(async (name: string, traces: string[]) => ({
      name,
      version: 2,
      rows: 10,
      added: traces.length
    })),
    datasets: jest.fn(async () => ({
      items: [{ name: 'gold', version: 1, rows: 8, saved_at: '' }],
      next: null
    }))
  } as unknown as ReturnType<typeof clientOf>;
}

/** A watched workspace that tells what the test tells it. */
export class FakeWatched {
  constructor(public client: Client | null) {}
  fault: ApiError | null = null;
  readonly changed = new Signal<Watched, void>(this as unknown as Watched);
  readonly news = new Signal<Watched, ReadonlySet<Topic>>(
    this as unknown as Watched
  );

  get it(): Watched {
    return this as unknown as Watched;
  }
}

export function hostOf(more: Partial<IHost> = {}): {
  [K in keyof IHost]: jest.Mock;
} {
  return {
    openTrace: jest.fn(),
    openCell: jest.fn(async () => true),
    notebook: jest.fn(() => null),
    insertCell: jest.fn(async () => true),
    confirm: jest.fn(async () => true),
    askText: jest.fn(async () => null),
    notify: jest.fn(),
    copy: jest.fn(async () => undefined),
    ...more
  } as { [K in keyof IHost]: jest.Mock };
}
