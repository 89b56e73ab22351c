import { IPoint, isNumber } from './points';
import {
  ITick,
  logTicks,
  numberTicks,
  Range,
  rangeOf,
  scale,
  timeTicks
} from './scale';

const HEIGHT = 150;
const EDGE = { top: 8, right: 10, bottom: 22 };
const HALF_HOUR = 1_800_000;

/** What is drawn alike. `look` is its colour with its dashes or shape; its place among the series if left out. */
export interface ISeries {
  name: string;
  /** By x. */
  points: readonly IPoint[];
  kind?: 'line' | 'points';
  look?: number;
  /** Whether `low` and `high` are the edges of an area, and no interval that belongs to each value. */
  area?: boolean;
}

/** A series as it is drawn: of many points those that tell them all. */
export type Drawn = Required<ISeries>;

/** A line across, such as a threshold; with `x` a ring around a point. */
export interface IMark {
  name: string;
  y: number;
  x?: number;
}

/** Where things are in a chart, in pixels. */
export interface IFrame {
  width: number;
  height: number;
  left: number;
  right: number;
  top: number;
  bottom: number;
  x: (value: number) => number;
  y: (value: number) => number;
}

/** What decides on the axes. */
export interface IAxes {
  across?: 'number' | 'time';
  marks?: readonly IMark[];
  /** The least range across; for how long a run will be. */
  span?: Range;
  /** Begin upward at 0. */
  zero?: boolean;
  height?: number;
}

/** The place of everything in a chart of some width, and the ticks of its axes. */
export function frameOf(
  width: number,
  drawn: readonly Drawn[],
  log: boolean,
  { across, marks = [], span, zero = false, height = HEIGHT }: IAxes
): { frame: IFrame; across: ITick[]; upward: ITick[] } {
  const bottom = height - EDGE.bottom;
  const values = drawn.flatMap(({ points }) =>
    points.flatMap(p => [p.y, p.low, p.high].filter(isNumber))
  );
  const y = rangeOf([...values, ...marks.map(mark => mark.y)], { zero, log });
  const rows = Math.max(2, Math.floor((bottom - EDGE.top) / 36));
  const upward = log ? logTicks(y, rows) : numberTicks(y, rows);
  const left = 12 + Math.max(14, ...upward.map(({ text }) => widthOf(text)));
  const right = Math.max(left + 1, width - EDGE.right);
  const isTime = across === 'time';
  const xs = drawn.flatMap(({ points }) => points.map(p => p.x));
  const x = acrossRange(
    [...xs, ...(span ?? [])],
    isTime,
    drawn.some(one => one.kind === 'points')
  );
  const columns = Math.max(2, Math.floor((right - left) / 60));
  return {
    frame: {
      ...{ width, height, left, right, top: EDGE.top, bottom },
      x: scale(x, [left, right]),
      y: scale(y, [bottom, EDGE.top], log)
    },
    across: isTime ? timeTicks(x, columns) : numberTicks(x, columns),
    upward
  };
}

/** About how many pixels a text of an axis takes. */
export function widthOf(text: string): number {
  return 6 * text.length;
}

/** The points with null for what cannot be drawn: no number, or no logarithm on such an axis. */
export function drawable(
  points: readonly IPoint[],
  log: boolean
): readonly IPoint[] {
  const kept = (value: number | null | undefined) =>
    isNumber(value) && (!log || value > 0) ? value : null;
  return points.map(p => ({
    ...p,
    y: kept(p.y),
    low: kept(p.low),
    high: kept(p.high)
  }));
}

/** How many values have no place on a logarithmic axis. */
export function countUndrawn(series: readonly ISeries[]): number {
  return series
    .flatMap(one => one.points)
    .filter(p => isNumber(p.y) && p.y <= 0).length;
}

/** Where a key goes from one of `count` stops; null if it goes nowhere. */
export function stepTo(key: string, at: number, count: number): number | null {
  const page = Math.max(1, Math.round(count / 10));
  const steps: Record<string, number> = {
    ArrowRight: at + 1,
    ArrowUp: at + 1,
    ArrowLeft: at - 1,
    ArrowDown: at - 1,
    PageUp: at + page,
    PageDown: at - page,
    Home: 0,
    End: count - 1
  };
  return key in steps ? Math.min(count - 1, Math.max(0, steps[key])) : null;
}

function acrossRange(xs: number[], isTime: boolean, loose: boolean): Range {
  if (isTime && xs.length > 0 && xs.every(x => x === xs[0])) {
    return [xs[0] - HALF_HOUR, xs[0] + HALF_HOUR];
  }
  return rangeOf(xs, { room: loose ? 0.1 : 0 });
}
