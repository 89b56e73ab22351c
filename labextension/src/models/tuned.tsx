import { TranslationBundle } from '@jupyterlab/translation';
import * as React from 'react';

import { IEstimate, ITuned } from '../api';
import { Chart } from '../shared/line';
import { Name } from '../shared/plain';
import { bytes, NONE, number } from '../shared/quantities';
import { Scroll } from '../shared/scroll';

/** What tuning measured: copies of a model with their speed and perplexity, and which one was chosen. */
export function Tuned(props: {
  trans: TranslationBundle;
  tuned: readonly ITuned[];
}): React.JSX.Element {
  const { trans, tuned } = props;
  const title = tuned.some(one => one.perplexity !== null)
    ? trans.__('Tuning on this machine')
    : trans.__('Copies');
  return (
    <section aria-label={title}>
      <h4>{title}</h4>
      <Scroll label={title}>
        <table className="jp-LLMOps-table">
          <thead>
            <tr>
              <th scope="col">{trans.__('Copy')}</th>
              <th scope="col">{trans.__('Size')}</th>
              <th scope="col">{trans.__('Tokens/s')}</th>
              <th scope="col">{trans.__('Perplexity')}</th>
            </tr>
          </thead>
          <tbody>
            {tuned.map(one => (
              <tr key={one.copy} data-chosen={one.chosen}>
                <th scope="row">
                  <Name text={one.copy} />
                  {one.chosen && ` → ${trans.__('chosen')}`}
                </th>
                <td className="jp-LLMOps-number">{bytes(one.size)}</td>
                <td className="jp-LLMOps-number">
                  {number(one.tokens_per_s, 1)}
                </td>
                <td className="jp-LLMOps-number">
                  {estimate(trans, one.perplexity)}
                </td>
              </tr>
            ))}
          </tbody>
        </table>
      </Scroll>
      <Plot {...props} />
    </section>
  );
}

/** Speed against perplexity; fast and good is at the lower right. */
function Plot(props: {
  trans: TranslationBundle;
  tuned: readonly ITuned[];
}): React.JSX.Element | null {
  const { trans, tuned } = props;
  const series = React.useMemo(() => {
    const named: [string, boolean][] = [
      [trans.__('tried'), false],
      [trans.__('chosen'), true]
    ];
    return named
      .map(([name, chosen]) => ({
        name,
        kind: 'points' as const,
        look: chosen ? 1 : 0,
        points: tuned
          .filter(one => one.chosen === chosen)
          .filter(one => one.tokens_per_s !== null)
          .map(one => ({
            x: one.tokens_per_s as number,
            y: one.perplexity?.value ?? null,
            low: one.perplexity?.low,
            high: one.perplexity?.high,
            name: one.copy
          }))
          .sort((a, b) => a.x - b.x)
      }))
      .filter(one => one.points.some(point => point.y !== null));
  }, [trans, tuned]);
  const count = series.reduce((sum, one) => sum + one.points.length, 0);
  if (count < 2) {
    return null;
  }
  return (
    <Chart
      trans={trans}
      label={trans.__('Perplexity (less is better) over tokens/s')}
      xName={trans.__('tokens/s')}
      series={series}
      format={value => number(value, 2)}
      formatX={value => number(value, 1)}
      noTable={true}
    />
  );
}

/** A value with its interval. */
function estimate(trans: TranslationBundle, found: IEstimate | null): string {
  if (found === null || found.value === null) {
    return NONE;
  }
  const value = number(found.value, 2);
  return found.low === null || found.high === null
    ? value
    : trans.__(
        '%1 (%2 to %3)',
        value,
        number(found.low, 2),
        number(found.high, 2)
      );
}
