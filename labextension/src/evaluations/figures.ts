import { TranslationBundle } from '@jupyterlab/translation';

import { isNumber } from '../shared/points';
import { language, NONE } from '../shared/quantities';
import { visible } from '../shared/visible';

/** What a metric's values are: shares of 1 or numbers of a unit. */
export interface IMeasure {
  drawn: 'rate' | 'mean';
  unit: string;
}

function digits(value: number, decimals: number, signed: boolean): string {
  return new Intl.NumberFormat(language(), {
    minimumFractionDigits: decimals,
    maximumFractionDigits: decimals,
    signDisplay: signed ? 'always' : 'auto'
  }).format(value);
}

/** As many decimals as count. */
function mean(value: number, signed: boolean): string {
  const size = Math.abs(value);
  if (size !== 0 && size < 0.001) {
    return new Intl.NumberFormat(language(), {
      maximumSignificantDigits: 2,
      signDisplay: signed ? 'always' : 'auto'
    }).format(value);
  }
  const decimals = size >= 100 ? 0 : size >= 10 ? 1 : size >= 1 ? 2 : 3;
  return digits(value, decimals, signed);
}

/** A value as the magics say it: rates in per cent, others with three digits that count. */
export function valueText(
  value: number | null | undefined,
  measure: IMeasure
): string {
  if (!isNumber(value)) {
    return NONE;
  }
  return measure.drawn === 'rate'
    ? `${digits(100 * value, 1, false)} %`
    : `${mean(value, false)} ${visible(measure.unit)}`.trimEnd();
}

/** A difference with its sign: of rates in points. */
export function differenceText(
  trans: TranslationBundle,
  value: number | null | undefined,
  measure: IMeasure
): string {
  if (!isNumber(value)) {
    return NONE;
  }
  return measure.drawn === 'rate'
    ? trans.__('%1 points', digits(100 * value, 1, true))
    : `${mean(value, true)} ${visible(measure.unit)}`.trimEnd();
}

/** A value or, with its sign, a difference without its unit. */
export function bareText(
  value: number,
  measure: IMeasure,
  signed = false
): string {
  return measure.drawn === 'rate'
    ? digits(100 * value, 1, signed)
    : mean(value, signed);
}

/** A difference on an axis that names the unit itself. */
export function tickText(value: number, measure: IMeasure): string {
  return new Intl.NumberFormat(language(), {
    maximumSignificantDigits: 4,
    signDisplay: 'exceptZero'
  }).format(measure.drawn === 'rate' ? 100 * value : value);
}

/** A p-value for people. */
export function probabilityText(value: number | null): string {
  if (!isNumber(value)) {
    return NONE;
  }
  return value < 0.001
    ? `<${digits(0.001, 3, false)}`
    : digits(value, 3, false);
}
