import { TranslationBundle } from '@jupyterlab/translation';

import { IFigure, ISpan } from '../api';
import { number, seconds } from '../shared/quantities';
import { lasted, waited } from './tree';

/** How a figure was come by. */
export function sourceWord(
  source: IFigure['source'],
  trans: TranslationBundle
): string {
  switch (source) {
    case 'measured':
      return trans.__('measured');
    case 'estimated':
      return trans.__('estimated');
    default:
      return trans.__('assumed');
  }
}

/** The name of a figure of resources; others have their own. */
export function figureName(name: string, trans: TranslationBundle): string {
  switch (name) {
    case 'busy':
      return trans.__('Model computing');
    case 'cpu':
      return trans.__('Processor time');
    case 'memory':
      return trans.__('Memory at most');
    case 'energy':
      return trans.__('Energy');
    default:
      return name;
  }
}

/** Seconds; of spans that take less than a millisecond, too. */
export function time(value: number | null): string {
  return value !== null && value > 0 && value < 0.001
    ? `${number(value * 1e6, value < 1e-5 ? 1 : 0)} µs`
    : seconds(value);
}

/** When a span begins in its trace and how long it takes, in one sentence for those who do not see the bar. */
export function barWords(
  span: ISpan,
  start: number,
  trans: TranslationBundle
): string {
  const said: string[] = [];
  if (Number.isFinite(span.start_ns)) {
    said.push(trans.__('starts after %1', time((span.start_ns - start) / 1e9)));
  }
  const took = lasted(span);
  if (span.end_ns === null) {
    said.push(trans.__('has not ended'));
  } else if (took === null) {
    said.push(trans.__('its end is not known: the clock went backwards'));
  } else {
    said.push(trans.__('takes %1', time(took)));
  }
  const first = waited(span);
  if (first !== null) {
    said.push(trans.__('first token after %1', time(first)));
  }
  return said.join(', ');
}
