import { language, number } from './quantities';

/** The ends of an axis. */
export type Range = readonly [number, number];

/** A place on an axis with what is written there. */
export interface ITick {
  at: number;
  text: string;
}

const SECOND = 1000;
const MINUTE = 60 * SECOND;
const HOUR = 60 * MINUTE;
const DAY = 24 * HOUR;
/** Ticks of time stand on these steps; from a month on, on months. */
const STEPS = [
  ...[1, 2, 5, 10, 15, 30].map(n => n * SECOND),
  ...[1, 2, 5, 10, 15, 30].map(n => n * MINUTE),
  ...[1, 2, 3, 6, 12].map(n => n * HOUR),
  ...[1, 2, 7, 14].map(n => n * DAY)
];
const MONTHS = [1, 3, 6, 12, 24, 60, 120];
const MOST_TICKS = 50;

/** Where a value lies between two pixels. */
export function scale(
  [low, high]: Range,
  [from, to]: Range,
  log = false
): (value: number) => number {
  const of = log ? Math.log10 : (value: number) => value;
  const [first, last] = [of(low), of(high)];
  return value => from + ((of(value) - first) / (last - first)) * (to - from);
}

/**
 * The range of some values, with a little room, so that nothing lies on an edge; never empty.
 *
 * `zero` has it begin at 0, `log` leaves out what has no logarithm, `room` is a share of the range.
 */
export function rangeOf(
  values: Iterable<number>,
  { zero = false, log = false, room = 0.05 } = {}
): Range {
  let [low, high] = [Infinity, -Infinity];
  for (const value of values) {
    if (Number.isFinite(value) && (!log || value > 0)) {
      low = Math.min(low, value);
      high = Math.max(high, value);
    }
  }
  if (low > high) {
    return log ? [1, 10] : [0, 1];
  }
  if (log) {
    const factor = low === high ? 2 : (high / low) ** room;
    return [low / factor, high * factor];
  }
  if (zero) {
    [low, high] = [Math.min(low, 0), Math.max(high, 0)];
  }
  const more =
    low === high
      ? Math.abs(low) * 0.1 || (room ? 1 : 0.5)
      : room * (high - low);
  const below = low >= 0 ? Math.max(0, low - more) : low - more;
  return [zero && low === 0 ? 0 : below, high + more];
}

/** Round numbers within a range, about `count` of them. */
export function numberTicks([low, high]: Range, count: number): ITick[] {
  const rough = (high - low) / Math.max(1, count);
  const power = 10 ** Math.floor(Math.log10(rough));
  const step =
    power * ([1, 2, 5].find(n => n * power >= rough * (1 - 1e-9)) ?? 10);
  const decimals = Math.max(0, -Math.floor(Math.log10(step) + 1e-9));
  const found: ITick[] = [];
  for (
    let i = Math.ceil(low / step - 1e-9);
    i * step <= high + step * 1e-9 && found.length < MOST_TICKS;
    i++
  ) {
    const at = i * step + 0; // no -0
    found.push({ at, text: short(at, decimals) });
  }
  return found;
}

/** Powers of ten within a range, with 2 and 5 between them where there is room. */
export function logTicks([low, high]: Range, count: number): ITick[] {
  const first = Math.floor(Math.log10(low));
  const last = Math.ceil(Math.log10(high));
  const every = Math.max(1, Math.ceil((last - first) / Math.max(1, count)));
  const between = last - first <= count / 2 ? [1, 2, 5] : [1];
  const found: ITick[] = [];
  for (let power = first; power <= last; power += every) {
    for (const n of between) {
      const at = n * 10 ** power;
      if (at >= low * (1 - 1e-9) && at <= high * (1 + 1e-9)) {
        found.push({ at, text: short(at, Math.max(0, -power)) });
      }
    }
  }
  // Within less than a decade there may be one round number or none.
  return found.length > 1 ? found : numberTicks([low, high], count);
}

/** Round moments within a range of milliseconds since 1970, in the zone of the reader. */
export function timeTicks([low, high]: Range, count: number): ITick[] {
  const rough = (0.8 * (high - low)) / Math.max(1, count);
  const step = STEPS.find(length => length >= rough);
  if (step === undefined) {
    const months =
      MONTHS.find(n => n * 30 * DAY >= rough) ?? MONTHS[MONTHS.length - 1];
    return collected(low, high, firstMonth(low, months), date =>
      date.setMonth(date.getMonth() + months)
    ).map(at => ({
      at,
      text: written(at, { month: 'short', year: 'numeric' })
    }));
  }
  const places =
    step >= DAY ? days(low, high, step / DAY) : hours(low, high, step);
  return places.map(at => ({ at, text: moment(at, step) }));
}

/** A moment as a whole, as precise as a step of time needs it. */
export function momentWords(at: number): string {
  return written(at, { dateStyle: 'medium', timeStyle: 'short' });
}

function days(low: number, high: number, every: number): number[] {
  const all = collected(low, high, midnight(low), date =>
    date.setDate(date.getDate() + 1)
  );
  return all.filter(at => {
    const date = new Date(at);
    const number = Math.round(
      Date.UTC(date.getFullYear(), date.getMonth(), date.getDate()) / DAY
    );
    return number % every === 0;
  });
}

function hours(low: number, high: number, step: number): number[] {
  if (step >= HOUR) {
    // By the clock on the wall, so that ticks stay on it where its hour changes.
    return collected(low, high, midnight(low), date =>
      date.setHours(date.getHours() + step / HOUR)
    );
  }
  const first = midnight(low);
  return collected(
    low,
    high,
    new Date(first.getTime() + Math.floor((low - +first) / step) * step),
    date => date.setTime(date.getTime() + step)
  );
}

/** The moments from `low` to `high` among those that `next` steps through; at most as many as a year has days. */
function collected(
  low: number,
  high: number,
  date: Date,
  next: (date: Date) => void
): number[] {
  const found: number[] = [];
  for (let i = 0; i < 1000 && date.getTime() <= high; i++) {
    const at = date.getTime();
    if (at >= low) {
      found.push(at);
    }
    next(date);
    if (date.getTime() <= at) {
      date.setTime(at + HOUR); // The hour that comes twice in autumn.
    }
  }
  return found;
}

function midnight(at: number): Date {
  const date = new Date(at);
  date.setHours(0, 0, 0, 0);
  return date;
}

function firstMonth(at: number, months: number): Date {
  const date = new Date(at);
  const whole = date.getFullYear() * 12 + date.getMonth();
  const first = Math.floor(whole / months) * months;
  return new Date(Math.floor(first / 12), first % 12, 1);
}

function moment(at: number, step: number): string {
  const date = new Date(at);
  if (step >= DAY || +midnight(at) === at) {
    return written(at, { month: 'short', day: 'numeric' });
  }
  const second = step < MINUTE ? ({ second: '2-digit' } as const) : {};
  return written(+date, { hour: '2-digit', minute: '2-digit', ...second });
}

function written(at: number, options: Intl.DateTimeFormatOptions): string {
  return new Intl.DateTimeFormat(language(), options).format(at);
}

/** A number of an axis: from 10,000 on in thousands, millions and so on. */
function short(value: number, decimals: number): string {
  if (Math.abs(value) < 10_000) {
    return number(value, decimals);
  }
  return new Intl.NumberFormat(language(), {
    notation: 'compact',
    maximumFractionDigits: 2
  }).format(value);
}
