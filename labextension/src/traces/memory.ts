import { ITraceFilters } from '../api';
import { IAnchor } from '../shared/virtual';
import { TraceList } from './list';

/** How the section was left, so that it is the same when one comes back to it. */
export interface IMemory {
  filters: ITraceFilters;
  list: TraceList | null;
  anchor: IAnchor | null;
  active: string | null;
  marked: ReadonlySet<string>;
  /** Where a range of marks begins. */
  from: string | null;
  /** The newest row when the top of the list was last seen. */
  seen: string | null;
}

const MEMORIES = new Map<string, IMemory>();

/** What is known of a workspace's list; it lasts as long as the page. */
export function memoryOf(workspace: string): IMemory {
  let found = MEMORIES.get(workspace);
  if (!found) {
    found = {
      filters: {},
      list: null,
      anchor: null,
      active: null,
      marked: new Set(),
      from: null,
      seen: null
    };
    MEMORIES.set(workspace, found);
  }
  return found;
}

/** Forget all, as a fresh page does. */
export function forget(): void {
  MEMORIES.clear();
}
