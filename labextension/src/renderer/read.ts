import { IFigure, IMessage, IScore, ISpan, ITrace, Status } from '../api';

type Json = Record<string, unknown>;

const STATUSES: readonly string[] = ['open', 'ok', 'error', 'interrupted'];
const SOURCES: readonly string[] = ['measured', 'estimated', 'assumed'];

/**
 * A trace that can be shown, from whatever a notebook or an answer holds; null if it is none.
 *
 * What is missing or of another kind becomes null, '' or empty, so that the view need not ask again. A span's
 * `start_ns` is NaN where it is not known. Each span has an id of its own. Unknown keys of messages are kept.
 */
export function readTrace(value: unknown): ITrace | null {
  if (!isObject(value) || !Array.isArray(value.spans)) {
    return null;
  }
  return {
    trace_id: text(value.trace_id),
    started_at: text(value.started_at),
    status: status(value.status, null),
    notebook: textOrNull(value.notebook),
    cell_id: textOrNull(value.cell_id),
    execution_count: finite(value.execution_count),
    kernel_id: textOrNull(value.kernel_id),
    spans: distinct(value.spans.filter(isObject).map(span)),
    scores: list(value.scores).filter(isObject).map(score)
  };
}

/** A second span with an id gets another, so that each can be selected. */
function distinct(spans: ISpan[]): ISpan[] {
  const seen = new Set<string>();
  return spans.map((one, at) => {
    const id = seen.has(one.span_id) ? `${one.span_id}#${at + 1}` : one.span_id;
    seen.add(id);
    return id === one.span_id ? one : { ...one, span_id: id };
  });
}

export function isObject(value: unknown): value is Json {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

/** A list, or none. */
export function list(value: unknown): unknown[] {
  return Array.isArray(value) ? value : [];
}

/** A number that can be shown, else null. */
export function finite(value: unknown): number | null {
  return typeof value === 'number' && Number.isFinite(value) ? value : null;
}

/** Text as it is, '' for nothing, and JSON for the rest. */
export function text(value: unknown): string {
  if (typeof value === 'string') {
    return value;
  }
  return value === null || value === undefined ? '' : json(value);
}

/** JSON for people; what has none (a cycle, a BigInt) as its own text. */
export function json(value: unknown): string {
  try {
    return JSON.stringify(value, null, 2) ?? String(value);
  } catch {
    return String(value);
  }
}

function textOrNull(value: unknown): string | null {
  return text(value) || null;
}

function status(value: unknown, end: number | null): Status {
  if (STATUSES.includes(value as string)) {
    return value as Status;
  }
  return end === null ? 'open' : 'ok';
}

function span(value: Json, at: number): ISpan {
  const end = finite(value.end_ns);
  const resources = isObject(value.resources) ? value.resources : null;
  return {
    span_id: text(value.span_id) || `#${at + 1}`,
    parent_id: textOrNull(value.parent_id),
    name: text(value.name),
    op: text(value.op),
    kind: text(value.kind),
    start_ns: finite(value.start_ns) ?? NaN,
    end_ns: end,
    first_token_ns: finite(value.first_token_ns),
    duration_s: finite(value.duration_s),
    status: status(value.status, end),
    error_type: textOrNull(value.error_type),
    error_message: textOrNull(value.error_message),
    provider: textOrNull(value.provider),
    model: textOrNull(value.model),
    model_digest: textOrNull(value.model_digest),
    prompt: text(value.prompt),
    session: textOrNull(value.session),
    seed: finite(value.seed),
    input_tokens: finite(value.input_tokens),
    output_tokens: finite(value.output_tokens),
    cached_tokens: finite(value.cached_tokens),
    cost: finite(value.cost),
    resources: resources && figures(resources),
    input: list(value.input).filter(isObject).map(message),
    output: list(value.output).filter(isObject).map(message),
    attributes: isObject(value.attributes) ? value.attributes : {},
    schema_url: text(value.schema_url)
  };
}

function figures(value: Json): Record<string, IFigure> {
  const found: [string, IFigure][] = [];
  for (const [name, figure] of Object.entries(value)) {
    const number = isObject(figure) ? finite(figure.value) : null;
    if (isObject(figure) && number !== null) {
      const source = text(figure.source);
      found.push([
        name,
        {
          value: number,
          unit: text(figure.unit),
          source: (SOURCES.includes(source)
            ? source
            : 'assumed') as IFigure['source']
        }
      ]);
    }
  }
  return Object.fromEntries(found);
}

function message(value: Json): IMessage {
  const made: IMessage = {
    ...value,
    role: text(value.role),
    content: text(value.content)
  };
  delete made.tool_calls;
  const calls = list(value.tool_calls).filter(isObject);
  if (calls.length) {
    made.tool_calls = calls.map(call => ({
      name: text(call.name),
      arguments: call.arguments,
      id: text(call.id)
    }));
  }
  return made;
}

function score(value: Json): IScore {
  return {
    trace_id: text(value.trace_id),
    span_id: textOrNull(value.span_id),
    name: text(value.name),
    value: finite(value.value),
    label: textOrNull(value.label),
    explanation: text(value.explanation),
    source: text(value.source),
    identifier: text(value.identifier),
    at: text(value.at)
  };
}
