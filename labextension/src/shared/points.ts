/** A point of a chart. `y` is null where there is a gap, `low` and `high` are an interval around it. */
export interface IPoint {
  x: number;
  y: number | null;
  low?: number | null;
  high?: number | null;
  name?: string;
}

/** Points of one run between two gaps. */
export type Run = readonly IPoint[];

/** At most so many are kept of each group: its ends, extremes of value and interval, and a gap. */
const KEPT = 7;

/** Whether a number can be drawn. */
export function isNumber(value: unknown): value is number {
  return typeof value === 'number' && Number.isFinite(value);
}

/**
 * Fewer points that look the same: of each group of neighbours its ends, its extremes and its gaps.
 *
 * @param points by x.
 * @param most of them; fewer are given back as they are.
 */
export function thinned(
  points: readonly IPoint[],
  most: number
): readonly IPoint[] {
  if (points.length <= most) {
    return points;
  }
  const size = Math.ceil(points.length / Math.max(1, Math.floor(most / KEPT)));
  const found: IPoint[] = [];
  for (let begin = 0; begin < points.length; begin += size) {
    const end = Math.min(begin + size, points.length);
    found.push(...chosen(points, begin, end).map(at => points[at]));
  }
  return found;
}

function chosen(
  points: readonly IPoint[],
  begin: number,
  end: number
): number[] {
  const places = new Set<number>();
  let [least, most, lowest, highest, gap, first, last] =
    Array<number>(7).fill(-1);
  for (let at = begin; at < end; at++) {
    const { y, low, high } = points[at];
    if (!isNumber(y)) {
      gap = gap < 0 ? at : gap;
      continue;
    }
    first = first < 0 ? at : first;
    last = at;
    least = least < 0 || y < (points[least].y as number) ? at : least;
    most = most < 0 || y > (points[most].y as number) ? at : most;
    if (isNumber(low)) {
      lowest = lowest < 0 || low < (points[lowest].low as number) ? at : lowest;
    }
    if (isNumber(high)) {
      highest =
        highest < 0 || high > (points[highest].high as number) ? at : highest;
    }
  }
  for (const at of [first, least, most, lowest, highest, gap, last]) {
    if (at >= 0) {
      places.add(at);
    }
  }
  return [...places].sort((a, b) => a - b);
}

/** Points in runs, which gaps divide. */
export function runsOf(
  points: readonly IPoint[],
  drawn: (point: IPoint) => boolean
): Run[] {
  const found: IPoint[][] = [];
  let open = false;
  for (const point of points) {
    if (!drawn(point)) {
      open = false;
      continue;
    }
    if (!open) {
      found.push([]);
      open = true;
    }
    found[found.length - 1].push(point);
  }
  return found;
}

/** The place of the value that is nearest to `x` in ascending values; -1 where there is none. */
export function nearest(values: readonly number[], x: number): number {
  let [low, high] = [0, values.length - 1];
  while (low < high) {
    const middle = (low + high) >> 1;
    if (values[middle] < x) {
      low = middle + 1;
    } else {
      high = middle;
    }
  }
  const before = low - 1;
  return before >= 0 && x - values[before] <= values[low] - x
    ? before
    : low === values.length
      ? -1
      : low;
}

/** The different x of some series, ascending. */
export function stopsOf(series: readonly (readonly IPoint[])[]): number[] {
  const found = new Set<number>();
  for (const points of series) {
    for (const { x, y } of points) {
      if (isNumber(y)) {
        found.add(x);
      }
    }
  }
  return [...found].sort((a, b) => a - b);
}
