import { TranslationBundle } from '@jupyterlab/translation';

import { ICost } from '../api';
import { language, NONE, number, percent, seconds } from '../shared/quantities';
import { visible } from '../shared/visible';

/** A value with its unit; shares in per cent, others with three digits that count. */
export function measured(value: number | null, unit = ''): string {
  if (value === null || !Number.isFinite(value)) {
    return NONE;
  }
  if (unit === '%') {
    return percent(value);
  }
  if (unit === '$') {
    return dollars(value);
  }
  if (unit === 's') {
    return seconds(value);
  }
  const text = number(value, decimals(value));
  return unit ? `${text} ${visible(unit)}` : text;
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

/** An amount of a budget with its unit, which `%monitor budget` calls by the same names. */
export function amount(
  trans: TranslationBundle,
  value: number,
  unit: string
): string {
  switch (unit) {
    case 'dollars':
    case '$':
      return dollars(value);
    case 'seconds':
    case 's':
      return seconds(value);
    case 'joules':
    case 'J':
      return energy(value);
    case 'tokens':
      return trans.__('%1 tokens', number(value));
    case 'output_tokens':
    case 'output tokens':
      return trans.__('%1 output tokens', number(value));
    case 'calls':
      return trans.__('%1 calls', number(value));
    default:
      return measured(value, unit);
  }
}

/** What was used of a budget, beside its limit: counts have their unit there. */
export function used(
  trans: TranslationBundle,
  value: number,
  unit: string
): string {
  return /^(output[_ ])?tokens$|^calls$/.test(unit)
    ? number(value)
    : amount(trans, value, unit);
}

/** The window of a budget in words. */
export function window(trans: TranslationBundle, per: string): string {
  const hours = /^(\d+(?:\.\d+)?)h$/.exec(per);
  if (hours) {
    return trans.__('in any %1 hours', number(Number(hours[1]), 1));
  }
  return per === 'call'
    ? trans.__('a call')
    : per === 'day'
      ? trans.__('a day')
      : per === 'total'
        ? trans.__('in total')
        : visible(per);
}

/** What a figure stands on, with the mark that `%monitor cost` shows for it. */
export function sourceWords(
  trans: TranslationBundle,
  source: ICost['source']
): string {
  return source === 'estimated'
    ? trans.__('≈ estimated')
    : source === 'assumed'
      ? trans.__('? assumed')
      : trans.__('measured');
}

function energy(value: number): string {
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
