/** Numbers for people, in the language of the page. Nothing known is shown as a dash. */

import { visible } from './visible';

export const NONE = '–';

/** The language of the page; undefined lets the browser choose. */
export function language(): string | undefined {
  return document.documentElement.lang || undefined;
}

/** Seconds: 0.042 → "42 ms", 3.21 → "3.2 s", 190 → "3 min 10 s". */
export function seconds(value: number | null | undefined): string {
  if (value === null || value === undefined || !Number.isFinite(value)) {
    return NONE;
  }
  if (value < 1) {
    return `${number(value * 1000, value < 0.01 ? 1 : 0)} ms`;
  }
  if (value < 60) {
    return `${number(value, 1)} s`;
  }
  const whole = Math.round(value);
  const minutes = Math.floor(whole / 60);
  return minutes < 60
    ? `${minutes} min ${whole % 60} s`
    : `${Math.floor(minutes / 60)} h ${minutes % 60} min`;
}

/** Bytes, in steps of 1,024. */
export function bytes(value: number | null | undefined): string {
  if (value === null || value === undefined) {
    return NONE;
  }
  const units = ['B', 'KB', 'MB', 'GB', 'TB'];
  let at = 0;
  let left = value;
  while (left >= 1024 && at < units.length - 1) {
    left /= 1024;
    at += 1;
  }
  return `${number(left, left < 10 && at > 0 ? 1 : 0)} ${units[at]}`;
}

/** A number with at most so many decimals and separators of the language. */
export function number(value: number | null | undefined, decimals = 0): string {
  if (value === null || value === undefined || !Number.isFinite(value)) {
    return NONE;
  }
  return new Intl.NumberFormat(language(), {
    maximumFractionDigits: decimals
  }).format(value);
}

/** A share between 0 and 1 as a percentage. */
export function percent(
  value: number | null | undefined,
  decimals = 1
): string {
  return value === null || value === undefined
    ? NONE
    : `${number(value * 100, decimals)} %`;
}

/** A value with its unit, as people write it: shares in per cent, others with three digits that count. */
export function quantity(value: number | null, unit = ''): string {
  if (value === null || !Number.isFinite(value)) {
    return NONE;
  }
  switch (unit) {
    case '%':
      return percent(value);
    case '$':
      return dollars(value);
    case 's':
      return seconds(value);
    case 'B':
      return bytes(value);
    case 'J':
      return energy(value);
    default:
      return `${number(value, decimals(value))} ${visible(unit)}`.trimEnd();
  }
}

/** Dollars: cents from a dollar on, two digits that count below it. */
export function dollars(value: number | null): string {
  if (value === null || !Number.isFinite(value)) {
    return NONE;
  }
  const small = value > 0 && value < 1;
  return new Intl.NumberFormat(language(), {
    style: 'currency',
    currency: 'USD',
    currencyDisplay: 'narrowSymbol',
    ...(small
      ? { minimumSignificantDigits: 2, maximumSignificantDigits: 2 }
      : { maximumFractionDigits: 2 })
  }).format(value);
}

/** Joules, or kilowatt-hours. */
export function energy(value: number): string {
  return value >= 3.6e6
    ? `${number(value / 3.6e6, 3)} kWh`
    : value >= 1000
      ? `${number(value / 1000, 1)} kJ`
      : `${number(value, 2)} J`;
}

function decimals(value: number): number {
  const size = Math.abs(value);
  if (size > 0 && size < 0.001) {
    return Math.min(12, 1 - Math.floor(Math.log10(size)));
  }
  return size >= 100 ? 0 : size >= 10 ? 1 : size >= 1 ? 2 : 3;
}

/** How long ago, such as "5 minutes ago"; `now` in milliseconds since 1970. */
export function ago(iso: string, now = Date.now()): string {
  const past = (now - Date.parse(iso)) / 1000;
  if (!Number.isFinite(past)) {
    return NONE;
  }
  const steps: [number, Intl.RelativeTimeFormatUnit][] = [
    [86_400, 'day'],
    [3600, 'hour'],
    [60, 'minute'],
    [1, 'second']
  ];
  const [size, unit] =
    steps.find(([length]) => Math.abs(past) >= length) ?? steps[3];
  return new Intl.RelativeTimeFormat(language(), { numeric: 'auto' }).format(
    -Math.round(past / size),
    unit
  );
}

/** A date with its time, in the zone of the reader. */
export function when(iso: string): string {
  const date = new Date(iso);
  return Number.isNaN(date.getTime())
    ? NONE
    : date.toLocaleString(language(), {
        dateStyle: 'medium',
        timeStyle: 'medium'
      });
}
