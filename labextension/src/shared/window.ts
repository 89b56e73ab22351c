/** The arithmetic of a list of which only the rows in view are in the document. All rows are equally high. */

/** Rows from `first` to before `end`. */
export interface IWindow {
  first: number;
  end: number;
}

/** Which rows are in view, and so many more on both sides. */
export function windowOf(
  top: number,
  view: number,
  height: number,
  count: number,
  overscan = 0
): IWindow {
  if (count === 0 || height <= 0) {
    return { first: 0, end: 0 };
  }
  const last = Math.min(count - 1, Math.floor((top + view - 1) / height));
  const first = Math.min(last, Math.max(0, Math.floor(top / height)));
  return {
    first: Math.max(0, first - overscan),
    end: Math.min(count, Math.max(first, last) + 1 + overscan)
  };
}

/** Where to scroll so that a row is wholly in view; as little as it takes. */
export function revealed(
  index: number,
  top: number,
  view: number,
  height: number
): number {
  const start = index * height;
  if (start < top || height > view) {
    return start;
  }
  return start + height > top + view ? start + height - view : top;
}

/** The row that a key leads to from another one (-1: from none); null if it is no key of a list. */
export function stepped(
  key: string,
  from: number,
  count: number,
  page: number
): number | null {
  const step = Math.max(1, page - 1);
  const to: Record<string, number> = {
    ArrowDown: from + 1,
    ArrowUp: from < 0 ? count - 1 : from - 1,
    Home: 0,
    End: count - 1,
    PageDown: Math.max(0, from) + step,
    PageUp: Math.max(0, from) - step
  };
  if (!Object.prototype.hasOwnProperty.call(to, key) || count === 0) {
    return null;
  }
  return Math.min(count - 1, Math.max(0, to[key]));
}
