import { isNumber } from './points';

/** From where to where an axis goes. */
export interface IExtent {
  low: number;
  high: number;
}

/** Something with an interval; an end that is null or not finite is open. */
export interface IBar {
  value: number | null;
  low: number | null;
  high: number | null;
}

/** An axis on which all finite values, ends and `include` have their place, with a little room at both ends. */
export function extent(
  bars: readonly IBar[],
  include: readonly number[] = []
): IExtent {
  let low = Infinity;
  let high = -Infinity;
  const take = (value: number | null) => {
    if (isNumber(value)) {
      low = Math.min(low, value);
      high = Math.max(high, value);
    }
  };
  include.forEach(take);
  for (const bar of bars) {
    take(bar.value);
    take(bar.low);
    take(bar.high);
  }
  if (low > high) {
    return { low: -1, high: 1 };
  }
  const room = high > low ? high * 0.06 - low * 0.06 : Math.abs(high) || 1;
  const most = Number.MAX_VALUE;
  return {
    low: Math.max(-most, low - room),
    high: Math.min(most, high + room)
  };
}

/** Round numbers on an axis, about so many. */
export function ticks({ low, high }: IExtent, about = 4): number[] {
  const rough = (high - low) / Math.max(1, about);
  if (!(rough > 0) || !Number.isFinite(rough)) {
    return [];
  }
  const power = 10 ** Math.floor(Math.log10(rough));
  const step =
    power * ([1, 2, 5].find(factor => factor * power >= rough) ?? 10);
  const found: number[] = [];
  const most = 5 * about;
  for (
    let i = Math.ceil(low / step);
    i * step <= high && found.length < most;
    i += 1
  ) {
    // Rounded, so that 3 × 0.1 is 0.3; + 0 makes a zero of minus zero.
    found.push(Number((i * step).toPrecision(12)) + 0);
  }
  return found;
}

/** Where a value lies between two pixels; outside of the axis at its end. */
export function place(
  value: number,
  { low, high }: IExtent,
  from: number,
  to: number
): number {
  // Halved, so that no difference of two large numbers is infinite.
  const share = (value / 2 - low / 2) / (high / 2 - low / 2);
  return from + Math.max(0, Math.min(1, share)) * (to - from);
}
