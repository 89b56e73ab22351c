import { Client, IPage, ITraceFilters, ITraceSummary } from '../api';
import { IStretch, Stretches, merged, stretchOf, until } from './stretches';

/** What the list asks the server for. */
export type Source = Pick<Client, 'traces'>;

/** Rows of a page. */
export const PAGE = 100;
/** Rows further from the view than this are let go of, and asked for again when they come near. */
export const FAR = 1000;
/** Rows before the end at which more are asked for. */
const AHEAD = 60;
/** Pages that are asked for to find where new rows meet those that are there. */
const REACH = 4;
/** Rows more than a stretch had, when it is asked for again: some may match now that did not. */
const SPARE = 20;
/** Rows that the server gives at once at most. */
const MOST = 500;
/** Stretches with open rows that are looked at again at once, beyond the first page. */
const OPEN = 2;

/**
 * The traces that match the filters, newest first, as far as they have been asked for.
 *
 * Pages come as they are needed; of those far from the view only the ids are kept. News change the first page only.
 * Answers to outdated questions are dropped.
 */
export class TraceList {
  constructor(
    public source: Source,
    readonly filters: ITraceFilters
  ) {}

  /** Another number whenever rows came, went or changed. */
  get revision(): number {
    return this._revision;
  }

  get count(): number {
    return this._rows.count;
  }

  /** Whether the first page has come. */
  get ready(): boolean {
    return this._rows.stretches.length > 0;
  }

  /** Whether there are rows after the last known one. */
  get isMore(): boolean {
    return !this.ready || this._end !== null;
  }

  /** Whether an answer is awaited that adds rows to the end. */
  get isBusy(): boolean {
    return this._growing !== null;
  }

  /** Why rows could not be had; null while all is well. */
  get fault(): unknown {
    return this._fault;
  }

  /** Whether so many rows are new that those between are not known: the list begins anew with `reload`. */
  get isOutdated(): boolean {
    return this._outdated;
  }

  /** How many rows came with the last news. */
  get added(): ReadonlySet<string> {
    return this._added;
  }

  /** Hear of changes; the answer ends it. */
  subscribe = (heard: () => void): (() => void) => {
    this._hearers.add(heard);
    return () => {
      this._hearers.delete(heard);
    };
  };

  /** The id of a row. */
  keyOf = (index: number): string => this._rows.keyOf(index);

  /** A row; null if it has been let go of and is not back yet. */
  row(index: number): ITraceSummary | null {
    return this._rows.row(index);
  }

  /** The place of a row, -1 if it is not there. */
  indexOf = (id: string): number => this._rows.indexOf(id);

  /** A row by its id, if it is there and loaded. */
  find(id: string): ITraceSummary | null {
    const index = this.indexOf(id);
    return index < 0 ? null : this.row(index);
  }

  /** Rows in view: what they need is asked for, what is far is let go of. */
  show = (first: number, end: number): void => {
    this._shown = { first, end };
    let changed = false;
    this._rows.stretches.forEach((stretch, i) => {
      const from = this._rows.startOf(i);
      const to = this._rows.startOf(i + 1);
      const near = from < end + PAGE && to > first - PAGE;
      if (near && stretch.rows === null && this._fault === null) {
        void this._fill(stretch);
      } else if (!near) {
        this._filling.get(stretch)?.abort();
        this._filling.delete(stretch);
      }
      if (stretch.rows && (from > end + FAR || to < first - FAR)) {
        this._rows.stretches[i] = { ...stretch, rows: null };
        changed = true;
      }
    });
    if (changed) {
      this._tell();
    }
    if (this.ready && end > this.count - AHEAD && this._fault === null) {
      void this.more();
    }
  };

  /** Ask for the next page, or the first one. */
  async more(): Promise<void> {
    if (this._growing || !this.isMore) {
      return;
    }
    const cursor = this._end ?? undefined;
    const grown = await this._grow(async signal => {
      const page = await this._ask(cursor, PAGE, signal);
      if (!signal.aborted && cursor === (this._end ?? undefined)) {
        this._rows.stretches.push(
          stretchOf(cursor, page, page.next, id => this._rows.has(id))
        );
        this._end = page.next;
        this._rows.note(this._rows.stretches.length - 1);
      }
    });
    if (grown && this._shown.end > this.count - AHEAD) {
      void this.more(); // The view is not filled yet, or a merge came between.
    }
  }

  /** Begin anew. */
  async reload(): Promise<void> {
    this._abort();
    this._outdated = false;
    await this._grow(async signal => {
      const page = await this._ask(undefined, PAGE, signal);
      if (!signal.aborted) {
        this._rows.stretches = [
          stretchOf(undefined, page, page.next, () => false)
        ];
        this._end = page.next;
        this._rows.note();
      }
    });
  }

  /** Something is new: put the new rows in front, and show those that have changed as they are now. */
  async refresh(): Promise<void> {
    if (!this.ready) {
      return this.more();
    }
    if (this._refreshing) {
      this._again = true; // One at a time: a slow server would answer none.
      return;
    }
    const control = new AbortController();
    this._refreshing = control;
    this._again = false;
    try {
      const page = await this._front(control.signal);
      if (!control.signal.aborted) {
        this._put(page);
      }
    } catch (fault) {
      this._failed(fault, control.signal);
    } finally {
      if (this._refreshing === control) {
        this._refreshing = null;
      }
    }
    if (this._again && !control.signal.aborted) {
      await this.refresh();
    }
  }

  /** Go on after a fault. */
  async resume(): Promise<void> {
    this._fault = null;
    await this.refresh();
    if (this._fault === null) {
      this.show(this._shown.first, this._shown.end);
    }
  }

  /** Await nothing any more; rows stay. */
  rest(): void {
    this._abort();
  }

  private _put(page: IPage<ITraceSummary> | null): void {
    const found = page && merged(this._rows.stretches, page);
    this._outdated = !found;
    if (found) {
      this._added = new Set(found[0].ids.filter(id => !this._rows.has(id)));
      this._rows.stretches = found;
      this._end = found[found.length - 1].next;
      this._rows.note();
    }
    this._fault = null;
    this._tell();
    this._look();
  }

  /** The newest rows, as many pages of them as it takes to meet those that are known; null if that is too many. */
  private async _front(
    signal: AbortSignal
  ): Promise<IPage<ITraceSummary> | null> {
    const items: ITraceSummary[] = [];
    let next: string | null = null;
    for (let i = 0; i < REACH; i++) {
      const page = await this._ask(next ?? undefined, PAGE, signal);
      items.push(...page.items);
      next = page.next;
      if (
        next === null ||
        this.count === 0 ||
        page.items.some(row => this._rows.has(row.trace_id))
      ) {
        return { items, next };
      }
    }
    return null;
  }

  /** Rows that were open when they were last seen, near the view and not on the first page. */
  private _look(): void {
    const { first, end } = this._shown;
    this._rows.stretches
      .filter(
        (stretch, i) =>
          i > 0 &&
          this._rows.startOf(i) < end + PAGE &&
          this._rows.startOf(i + 1) > first - PAGE &&
          stretch.rows?.some(row => row.status === 'open')
      )
      .slice(0, OPEN)
      .forEach(stretch => void this._fill(stretch));
  }

  /** Ask for the rows of a stretch again. */
  private async _fill(stretch: IStretch): Promise<void> {
    if (this._filling.has(stretch)) {
      return;
    }
    const control = new AbortController();
    this._filling.set(stretch, control);
    try {
      const limit = Math.min(MOST, stretch.ids.length + SPARE);
      const page = await this._ask(stretch.cursor, limit, control.signal);
      const at = this._rows.stretches.indexOf(stretch);
      if (!control.signal.aborted && at >= 0) {
        const own = new Set(stretch.ids);
        const before = new Map(
          (stretch.rows ?? []).map(row => [row.trace_id, row])
        );
        this._rows.stretches[at] = stretchOf(
          stretch.cursor,
          until(page, stretch, own),
          stretch.next,
          id => !own.has(id) && this._rows.has(id),
          before
        );
        this._rows.note();
        this._tell();
      }
    } catch (fault) {
      this._failed(fault, control.signal);
    } finally {
      if (this._filling.get(stretch) === control) {
        this._filling.delete(stretch);
      }
    }
  }

  private _failed(fault: unknown, signal: AbortSignal): void {
    if (!signal.aborted) {
      this._fault = fault;
      this._tell();
    }
  }

  /** Change the end of the list; whether that came to pass. */
  private async _grow(
    change: (signal: AbortSignal) => Promise<void>
  ): Promise<boolean> {
    const control = new AbortController();
    this._growing = control;
    this._fault = null;
    this._tell();
    try {
      await change(control.signal);
    } catch (fault) {
      if (!control.signal.aborted) {
        this._fault = fault;
      }
    } finally {
      if (this._growing === control) {
        this._growing = null;
      }
      if (!control.signal.aborted) {
        this._tell();
      }
    }
    return !control.signal.aborted && this._fault === null;
  }

  private _ask(
    cursor: string | undefined,
    limit: number,
    signal: AbortSignal
  ): Promise<IPage<ITraceSummary>> {
    return this.source.traces(this.filters, cursor, limit, signal);
  }

  private _abort(): void {
    this._growing?.abort();
    this._growing = null;
    this._refreshing?.abort();
    this._refreshing = null;
    this._filling.forEach(control => control.abort());
    this._filling.clear();
  }

  private _tell(): void {
    this._revision += 1;
    this._hearers.forEach(heard => heard());
  }

  private readonly _rows = new Stretches();
  private _end: string | null = null;
  private _shown = { first: 0, end: 0 };
  private _revision = 0;
  private _fault: unknown = null;
  private _outdated = false;
  private _added: ReadonlySet<string> = new Set();
  private _again = false;
  private _growing: AbortController | null = null;
  private _refreshing: AbortController | null = null;
  private readonly _filling = new Map<IStretch, AbortController>();
  private readonly _hearers = new Set<() => void>();
}
