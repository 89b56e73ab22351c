import * as React from 'react';

import { TraceList } from './list';
import { IMemory } from './memory';

/** Rows that can be marked together at most: what is done with them is one request. */
export const MOST = 1000;

export interface IMarks {
  marked: ReadonlySet<string>;
  /** Mark a row, or take its mark away; with `range`: all from the last one that was marked. */
  mark: (id: string, range: boolean) => void;
  clear: () => void;
}

/** Which rows are marked; it is kept while one looks at other things. */
export function useMarks(list: TraceList, memory: IMemory): IMarks {
  const [marked, setMarked] = React.useState(memory.marked);
  const keep = React.useCallback(
    (now: ReadonlySet<string>) => {
      memory.marked = now;
      setMarked(now);
    },
    [memory]
  );
  const mark = React.useCallback(
    (id: string, range: boolean) => {
      const now = new Set(memory.marked);
      const from = memory.from === null ? -1 : list.indexOf(memory.from);
      if (range && from >= 0 && now.size > 0) {
        between(list, from, list.indexOf(id)).forEach(one => now.add(one));
      } else if (!now.delete(id)) {
        now.add(id);
      }
      if (now.size <= MOST) {
        memory.from = range && from >= 0 ? memory.from : id;
        keep(now);
      }
    },
    [list, memory, keep]
  );
  const clear = React.useCallback(() => {
    memory.from = null;
    keep(new Set());
  }, [memory, keep]);
  return { marked, mark, clear };
}

function between(list: TraceList, a: number, b: number): string[] {
  const found: string[] = [];
  for (let i = Math.min(a, b); i >= 0 && i <= Math.max(a, b); i++) {
    found.push(list.keyOf(i));
  }
  return found.slice(0, MOST + 1);
}
