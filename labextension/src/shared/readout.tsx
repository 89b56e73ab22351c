import { TranslationBundle } from '@jupyterlab/translation';
import * as React from 'react';

import { Further, useFirst } from './bounded';
import { MarkSwatch, Swatch } from './drawing';
import { Drawn, IMark, ISeries } from './frame';
import { Name } from './plain';
import { IPoint, isNumber, nearest } from './points';
import { Scroll } from './scroll';
import { visible } from './visible';

/** Rows of a table at first, and more at a time. */
const ROWS = 100;

/** How values are written. */
export interface IWords {
  x: (value: number) => string;
  y: (value: number | null) => string;
}

/** What a series says at a place: its point there (`exact`), or the nearest one. */
export interface IReading {
  name: string;
  look: number;
  kind: 'line' | 'points';
  area: boolean;
  exact: boolean;
  points: readonly IPoint[];
}

/** What a series says at a place: its point there, that there is a gap, or its nearest point. */
export function readingOf(one: Drawn, x: number): IReading {
  const { name, look, kind, area, points } = one;
  const told = { name, look, kind, area };
  const here = points.filter(p => p.x === x);
  if (here.length) {
    return { ...told, exact: true, points: here };
  }
  const seen = points.filter(p => isNumber(p.y));
  const places = seen.map(p => p.x);
  const at = nearest(places, x);
  return { ...told, exact: false, points: at < 0 ? [] : [seen[at]] };
}

/** A reading in words. */
export function readingWords(
  trans: TranslationBundle,
  { points, exact, area }: IReading,
  words: IWords
): string {
  if (!points.length) {
    return words.y(null);
  }
  return points
    .map(point => {
      const told = pointWords(trans, point, words, area);
      const named = point.name ? `${point.name} ${told}` : told;
      return exact ? named : trans.__('%1 (at %2)', named, words.x(point.x));
    })
    .join(', ');
}

function pointWords(
  trans: TranslationBundle,
  { y, low, high }: IPoint,
  words: IWords,
  area = false
): string {
  const value = words.y(isNumber(y) ? y : null);
  return !area && isNumber(y) && isNumber(low) && isNumber(high)
    ? trans.__('%1 (%2 to %3)', value, words.y(low), words.y(high))
    : value;
}

/** Names of the series beside a sample of each, with what they say where one points. */
export function Legend(props: {
  trans: TranslationBundle;
  place: string;
  readings: readonly IReading[];
  marks: readonly IMark[];
  words: IWords;
}): React.JSX.Element {
  const { trans, place, readings, marks, words } = props;
  return (
    <div className="jp-LLMOps-legend">
      <span className="jp-LLMOps-quiet">{place}</span>
      <ul>
        {readings.map((reading, i) => (
          <li key={i}>
            <Swatch look={reading.look} kind={reading.kind} />
            <Name text={reading.name} />
            <bdi className="jp-LLMOps-reading">
              {visible(readingWords(trans, reading, words))}
            </bdi>
          </li>
        ))}
        {marks.map((mark, i) => (
          <li key={`mark ${i}`}>
            <MarkSwatch ring={mark.x !== undefined} />
            <Name text={mark.name} />
            <bdi className="jp-LLMOps-reading">{words.y(mark.y)}</bdi>
          </li>
        ))}
      </ul>
    </div>
  );
}

/** The same as a table, for those who read it better so. */
export function ChartTable(props: {
  trans: TranslationBundle;
  label: string;
  series: readonly ISeries[];
  xName: string;
  words: IWords;
}): React.JSX.Element {
  const [open, setOpen] = React.useState(false);
  return (
    <details
      className="jp-LLMOps-charttable"
      open={open}
      onToggle={event => setOpen(event.currentTarget.open)}
    >
      <summary>{props.trans.__('As a table')}</summary>
      {open && <Rows {...props} />}
    </details>
  );
}

function Rows(
  props: React.ComponentProps<typeof ChartTable>
): React.JSX.Element {
  const { trans, label, series, xName, words } = props;
  const { places, columns } = React.useMemo(() => {
    const columns = series.map(one => new Map(one.points.map(p => [p.x, p])));
    const all = new Set(columns.flatMap(column => [...column.keys()]));
    return { places: [...all].sort((a, b) => a - b), columns };
  }, [series]);
  const some = useFirst(places, ROWS, ROWS);
  return (
    <Scroll label={label}>
      <table className="jp-LLMOps-table">
        <thead>
          <tr>
            <th scope="col">{xName}</th>
            {series.map((one, i) => (
              <th scope="col" key={i}>
                <Name text={one.name} />
              </th>
            ))}
          </tr>
        </thead>
        <tbody>
          {some.shown.map(x => (
            <tr key={x}>
              <th scope="row">{words.x(x)}</th>
              {columns.map((column, i) => {
                const point = column.get(x);
                return (
                  <td key={i} className="jp-LLMOps-number">
                    {point
                      ? pointWords(trans, point, words, series[i].area)
                      : ''}
                  </td>
                );
              })}
            </tr>
          ))}
        </tbody>
      </table>
      <Further trans={trans} of={some} />
    </Scroll>
  );
}
