/** Numbers for people, in the language of the page. Nothing known is shown as a dash. */

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
