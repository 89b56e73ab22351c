import { TranslationBundle } from '@jupyterlab/translation';

import { ITraceFilters } from '../api';
import { fileName } from '../notebooks/place';
import { own } from '../shared/own';
import { statusWord } from '../shared/standing';
import { Source } from './list';

export type FilterName = keyof ITraceFilters;

/** Filters in the order in which they are shown. */
const FILTERS: readonly FilterName[] = [
  'q',
  'prompt',
  'model',
  'status',
  'notebook',
  'session',
  'score',
  'since',
  'until'
];

export const STATUSES = ['ok', 'error', 'open', 'interrupted'] as const;

/** Ages to choose from, as the server takes them. */
export const AGES = ['1h', '24h', '7d', '30d'] as const;

/** What a filter is called. */
export function titled(trans: TranslationBundle, name: FilterName): string {
  return {
    q: trans.__('Text'),
    prompt: trans.__('Prompt'),
    model: trans.__('Model'),
    status: trans.__('Status'),
    notebook: trans.__('Notebook'),
    session: trans.__('Session'),
    score: trans.__('Score'),
    since: trans.__('Since'),
    until: trans.__('Until')
  }[name];
}

/** An age in words. */
export function aged(trans: TranslationBundle, age: string): string {
  const known: Record<string, string> = {
    '1h': trans.__('last hour'),
    '24h': trans.__('last 24 hours'),
    '7d': trans.__('last 7 days'),
    '30d': trans.__('last 30 days')
  };
  return own(known, age) ?? age;
}

/** The value of a filter as it is shown. */
export function shownValue(
  trans: TranslationBundle,
  name: FilterName,
  value: string
): string {
  switch (name) {
    case 'status':
      return statusWord(trans, value);
    case 'since':
      return aged(trans, value);
    case 'notebook':
      return fileName(value);
    default:
      return value;
  }
}

/** The filters that are set, in their order. */
export function given(filters: ITraceFilters): [FilterName, string][] {
  return FILTERS.flatMap(name => {
    const value = filters[name];
    return value ? [[name, value] as [FilterName, string]] : [];
  });
}

/** The filters with one set otherwise; '' takes it away. */
export function changed(
  filters: ITraceFilters,
  name: FilterName,
  value: string
): ITraceFilters {
  const now = { ...filters };
  delete now[name];
  return value ? { ...now, [name]: value } : now;
}

/** Where nothing matches: the filters that would let something through if they alone were dropped. */
export async function culprits(
  source: Source,
  filters: ITraceFilters,
  signal: AbortSignal
): Promise<FilterName[]> {
  const set = given(filters);
  if (set.length === 1) {
    return [set[0][0]];
  }
  const answers = await Promise.all(
    set.map(([name]) =>
      source.traces(changed(filters, name, ''), undefined, 1, signal)
    )
  );
  return set
    .filter((_, i) => answers[i].items.length > 0)
    .map(([name]) => name);
}
