import { TranslationBundle } from '@jupyterlab/translation';

import { ICost } from '../api';
import {
  dollars,
  energy,
  number,
  quantity,
  seconds
} from '../shared/quantities';
import { visible } from '../shared/visible';

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
      return quantity(value, unit);
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
