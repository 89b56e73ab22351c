import { IPage, ITraceSummary } from '../api';

/**
 * Rows that came as the answer to one question, in their order.
 *
 * `rows` is null once they have been let go of; then `cursor` gets them again. `next` is the cursor of what follows.
 */
export interface IStretch {
  cursor: string | undefined;
  next: string | null;
  ids: readonly string[];
  rows: readonly ITraceSummary[] | null;
}

/** Rows of a stretch at most, where small ones are put together. */
const LONGEST = 200;

/** A stretch of a page, without the rows that are elsewhere. A row that has not changed stays the same object. */
export function stretchOf(
  cursor: string | undefined,
  page: IPage<ITraceSummary>,
  next: string | null,
  isElsewhere: (id: string) => boolean,
  before: ReadonlyMap<string, ITraceSummary> = new Map()
): IStretch {
  const seen = new Set<string>();
  const rows = page.items.filter(row => {
    const twice = seen.has(row.trace_id) || isElsewhere(row.trace_id);
    seen.add(row.trace_id);
    return !twice;
  });
  return {
    cursor,
    next,
    ids: rows.map(row => row.trace_id),
    rows: rows.map(row => same(before.get(row.trace_id), row))
  };
}

function same(
  before: ITraceSummary | undefined,
  now: ITraceSummary
): ITraceSummary {
  const names = Object.keys(now) as (keyof ITraceSummary)[];
  return before && names.every(name => before[name] === now[name])
    ? before
    : now;
}

/**
 * The stretches with a new first page put in front; null if the page does not reach them, so that rows between are
 * not known.
 *
 * Rows that the page should hold but does not are gone; rows that it holds are as it says.
 */
export function merged(
  stretches: readonly IStretch[],
  page: IPage<ITraceSummary>
): IStretch[] | null {
  const before = new Map<string, ITraceSummary>();
  for (const stretch of stretches) {
    stretch.rows?.forEach(row => before.set(row.trace_id, row));
  }
  const head = stretchOf(undefined, page, page.next, () => false, before);
  if (page.next === null || stretches.every(s => s.ids.length === 0)) {
    return [head];
  }
  const fresh = new Set(head.ids);
  const from = stretches.findIndex(s => s.ids.some(id => fresh.has(id)));
  if (from < 0) {
    return null;
  }
  let last = from;
  stretches.forEach((stretch, i) => {
    last = stretch.ids.some(id => fresh.has(id)) ? i : last;
  });
  const border = stretches[last];
  const at = border.ids.reduce((to, id, i) => (fresh.has(id) ? i + 1 : to), 0);
  if (border.ids[at - 1] !== head.ids[head.ids.length - 1]) {
    return [head]; // Older rows came to match: what follows is asked for anew.
  }
  return [
    head,
    ...joined(
      {
        cursor: page.next,
        next: border.next,
        ids: border.ids.slice(at),
        rows: border.rows?.slice(at) ?? null
      },
      stretches.slice(last + 1)
    )
  ];
}

/** The rest of a stretch with those that follow: put together with the next one, if both are short. */
function joined(rest: IStretch, others: IStretch[]): IStretch[] {
  if (rest.ids.length === 0) {
    return others.length
      ? [{ ...others[0], cursor: rest.cursor }, ...others.slice(1)]
      : [];
  }
  const [next, ...more] = others;
  if (next?.rows && rest.rows && rest.ids.length + next.ids.length <= LONGEST) {
    return [
      {
        cursor: rest.cursor,
        next: next.next,
        ids: [...rest.ids, ...next.ids],
        rows: [...rest.rows, ...next.rows]
      },
      ...more
    ];
  }
  return [rest, ...others];
}

/** A page as far as the last row that the stretch had: what follows belongs to others. */
export function until(
  page: IPage<ITraceSummary>,
  stretch: IStretch,
  own: ReadonlySet<string>
): IPage<ITraceSummary> {
  if (stretch.next === null) {
    return page;
  }
  const last = page.items.reduce(
    (to, row, i) => (own.has(row.trace_id) ? i + 1 : to),
    0
  );
  return { items: page.items.slice(0, last), next: page.next };
}

/** Stretches in their order, and where each row is. */
export class Stretches {
  stretches: IStretch[] = [];

  get count(): number {
    return this._starts[this.stretches.length] ?? 0;
  }

  /** The place of a stretch's first row; of the one after the last: how many rows there are. */
  startOf(stretch: number): number {
    return this._starts[stretch];
  }

  has(id: string): boolean {
    return this._places.has(id);
  }

  /** The id of a row; '' where there is none. */
  keyOf(index: number): string {
    const at = this._at(index);
    return this.stretches[at]?.ids[index - this._starts[at]] ?? '';
  }

  row(index: number): ITraceSummary | null {
    const at = this._at(index);
    return this.stretches[at]?.rows?.[index - this._starts[at]] ?? null;
  }

  /** The place of a row, -1 if it is not there. */
  indexOf(id: string): number {
    const at = this._places.get(id);
    return at === undefined
      ? -1
      : this._starts[at] + this.stretches[at].ids.indexOf(id);
  }

  /** Note where rows are, after stretches from this one on have changed. */
  note(from = 0): void {
    this._starts.length = from + 1;
    if (from === 0) {
      this._places = new Map();
    }
    for (let at = from; at < this.stretches.length; at++) {
      const { ids } = this.stretches[at];
      this._starts.push(this._starts[at] + ids.length);
      ids.forEach(id => this._places.set(id, at));
    }
  }

  /** The stretch of a row. */
  private _at(index: number): number {
    let low = 0;
    let high = this.stretches.length - 1;
    while (low < high) {
      const middle = (low + high + 1) >> 1;
      if (this._starts[middle] <= index) {
        low = middle;
      } else {
        high = middle - 1;
      }
    }
    return low;
  }

  private _starts: number[] = [0];
  private _places = new Map<string, number>();
}
