import { TranslationBundle } from '@jupyterlab/translation';
import * as React from 'react';

import { extent, IBar, IExtent, place, ticks } from './intervals';
import { Pager, usePages } from './pager';
import { isNumber } from './points';
import { NONE, number } from './quantities';
import { beginning, visible } from './visible';
import { useWidth } from './width';

/** From this width on, in pixels, a row has its label, its interval and its numbers beside each other. */
const WIDE = 520;
const FIRST_WIDTH = 320;
const ROWS = 40;
const AXIS = 34;
const EDGE = 8;
/** About how wide a character of the small font is. */
const CHARACTER = 6.2;

/** What an overall difference says; it chooses the colour beside the words that the caller shows. */
export type Tone = 'better' | 'worse' | 'open';

/** A line of the plot. `strong` is the overall one: a diamond. */
export interface IForestRow extends IBar {
  label: string;
  n: number;
  strong?: boolean;
  tone?: Tone;
}

interface IForestProps {
  trans: TranslationBundle;
  rows: readonly IForestRow[];
  /** What the plot is of, for screen readers and the table. */
  title: string;
  /** What the axis measures, with which way is better. */
  axis: string;
  /** A value for people, with its sign and unit. */
  format: (value: number) => string;
  /** The same without its unit, where that was said just before. */
  bare: (value: number) => string;
  /** A value on the axis. */
  tick: (value: number) => string;
}

interface ILayout {
  wide: boolean;
  width: number;
  /** Pixels between which the axis lies. */
  from: number;
  to: number;
  row: number;
}

/**
 * Differences with their intervals, one under the other; the line at 0 is no difference.
 *
 * An open end of an interval runs to the edge with an arrow, an interval of which nothing is known is not drawn.
 */
export function Forest(props: IForestProps): React.JSX.Element {
  const { trans, rows, title } = props;
  const [element, width] = useWidth<HTMLElement>(FIRST_WIDTH);
  const strong = rows.filter(row => row.strong);
  const paged = usePages(
    rows.filter(row => !row.strong),
    ROWS,
    [title, rows.length]
  );
  const shown = [...strong, ...paged.rows];
  return (
    <figure className="jp-LLMOps-forest" ref={element}>
      <Plot {...props} shown={shown} layout={layout(width)} />
      <Pager trans={trans} paged={paged} label={trans.__('Slices')} />
      <details>
        <summary>{trans.__('As a table')}</summary>
        <Numbers {...props} shown={shown} />
      </details>
    </figure>
  );
}

function layout(width: number): ILayout {
  const wide = width >= WIDE;
  const side = Math.round(width * 0.28);
  return {
    wide,
    width,
    from: wide ? side : EDGE,
    to: wide ? width - side - EDGE : width - EDGE,
    row: wide ? 30 : 52
  };
}

function Plot(
  props: IForestProps & { shown: readonly IForestRow[]; layout: ILayout }
): React.JSX.Element {
  const { rows, shown, title, axis, tick, layout: at } = props;
  const range = extent(rows, [0]);
  const height = shown.length * at.row + AXIS;
  const zero = place(0, range, at.from, at.to);
  const floor = shown.length * at.row;
  return (
    <svg
      role="img"
      aria-label={summary(props)}
      width={at.width}
      height={height}
      viewBox={`0 0 ${at.width} ${height}`}
      direction="ltr"
    >
      <title>{visible(title)}</title>
      {shown.map((_, i) => (
        <line
          key={i}
          className="jp-LLMOps-forest-zero"
          x1={zero}
          x2={zero}
          y1={i * at.row + (at.wide ? 0 : 32)}
          y2={(i + 1) * at.row}
        />
      ))}
      {shown.map((row, i) => (
        <Row key={i} {...props} row={row} top={i * at.row} range={range} />
      ))}
      <line
        className="jp-LLMOps-forest-axis"
        x1={at.from}
        x2={at.to}
        y1={floor}
        y2={floor}
      />
      {ticks(range, at.wide ? 6 : 4).map(value => {
        const x = place(value, range, at.from, at.to);
        return (
          <g key={value} className="jp-LLMOps-forest-tick">
            <line x1={x} x2={x} y1={floor} y2={floor + 4} />
            <text x={x} y={floor + 15} textAnchor="middle">
              {tick(value)}
            </text>
          </g>
        );
      })}
      <text
        className="jp-LLMOps-forest-label"
        x={(at.from + at.to) / 2}
        y={floor + 29}
        textAnchor="middle"
      >
        {beginning(visible(axis), Math.floor(at.width / CHARACTER))}
      </text>
    </svg>
  );
}

/** A row: its label, its interval, and the numbers. */
function Row(
  props: IForestProps & {
    layout: ILayout;
    row: IForestRow;
    top: number;
    range: IExtent;
  }
): React.JSX.Element {
  const { trans, row, top, layout: at } = props;
  const count = trans.__('n = %1', number(row.n));
  const room = at.wide ? at.from - EDGE : at.width - 2 * EDGE - 70;
  const middle = top + (at.wide ? at.row / 2 : at.row - 12);
  const text = middle + 4;
  return (
    <g
      className="jp-LLMOps-forest-row"
      data-strong={row.strong ?? false}
      data-tone={row.tone ?? 'open'}
    >
      <text x={0} y={at.wide ? text : top + 13}>
        <title>{visible(row.label)}</title>
        {beginning(
          visible(row.label),
          Math.max(6, Math.floor(room / CHARACTER))
        )}
      </text>
      <text
        x={at.width}
        y={at.wide ? text + 6 : top + 13}
        textAnchor="end"
        className="jp-LLMOps-forest-count"
      >
        {count}
      </text>
      <text
        x={at.wide ? at.width : 0}
        y={at.wide ? text - 7 : top + 28}
        textAnchor={at.wide ? 'end' : 'start'}
        className="jp-LLMOps-forest-numbers"
      >
        {numbers(props)}
      </text>
      <Whisker {...props} middle={middle} />
    </g>
  );
}

/** The interval with its ends, and the value on it. */
function Whisker(props: {
  row: IForestRow;
  layout: ILayout;
  range: IExtent;
  middle: number;
}): React.JSX.Element {
  const { row, layout: at, range, middle } = props;
  const x = (value: number) => place(value, range, at.from, at.to);
  const isKnown = isNumber(row.low) || isNumber(row.high);
  const low = isNumber(row.low) ? x(row.low) : at.from;
  const high = isNumber(row.high) ? x(row.high) : at.to;
  const end = (where: number, isOpen: boolean, turn: 1 | -1) =>
    isOpen
      ? `M ${where + turn * 5} ${middle - 4} L ${where} ${middle} L ${where + turn * 5} ${middle + 4}`
      : `M ${where} ${middle - 4} L ${where} ${middle + 4}`;
  const size = row.strong ? 6 : 3.5;
  return (
    <>
      {isKnown && (
        <path
          className="jp-LLMOps-forest-whisker"
          d={[
            `M ${low} ${middle} L ${high} ${middle}`,
            end(low, !isNumber(row.low), 1),
            end(high, !isNumber(row.high), -1)
          ].join(' ')}
        />
      )}
      {isNumber(row.value) &&
        (row.strong ? (
          <path
            className="jp-LLMOps-forest-point"
            d={`M ${x(row.value) - size} ${middle} l ${size} ${-size} l ${size} ${size} l ${-size} ${size} Z`}
          />
        ) : (
          <circle
            className="jp-LLMOps-forest-point"
            cx={x(row.value)}
            cy={middle}
            r={size}
          />
        ))}
    </>
  );
}

/** A value with its interval in words. */
function numbers(props: {
  trans: TranslationBundle;
  row: IForestRow;
  format: (value: number) => string;
  bare: (value: number) => string;
}): string {
  const { trans, row, format, bare } = props;
  const value = isNumber(row.value) ? format(row.value) : NONE;
  return `${value} (${interval(trans, row, bare)})`;
}

/** An interval in words; ends that are open are named so. `bare` says the lower end where the upper one has the unit. */
export function interval(
  trans: TranslationBundle,
  row: IBar,
  format: (value: number) => string,
  bare = format
): string {
  if (isNumber(row.low) && isNumber(row.high)) {
    return trans.__('%1 to %2', bare(row.low), format(row.high));
  }
  if (isNumber(row.low)) {
    return trans.__('from %1', format(row.low));
  }
  return isNumber(row.high)
    ? trans.__('up to %1', format(row.high))
    : trans.__('no interval');
}

/** What the picture shows, in a sentence; the table has it all. */
function summary(
  props: IForestProps & { shown: readonly IForestRow[] }
): string {
  const { trans, shown, title } = props;
  const first = shown[0];
  return first
    ? trans.__(
        '%1. %2: %3. All numbers stand in the table below.',
        visible(title),
        visible(first.label),
        numbers({ ...props, row: first })
      )
    : visible(title);
}

function Numbers(
  props: IForestProps & { shown: readonly IForestRow[] }
): React.JSX.Element {
  const { trans, shown, title, format, bare } = props;
  return (
    <table className="jp-LLMOps-columns">
      <caption className="jp-LLMOps-unseen">{visible(title)}</caption>
      <thead>
        <tr>
          <th scope="col">{trans.__('Rows of')}</th>
          <th scope="col">{trans.__('Difference')}</th>
          <th scope="col">{trans.__('Interval')}</th>
          <th scope="col">{trans.__('n')}</th>
        </tr>
      </thead>
      <tbody>
        {shown.map((row, i) => (
          <tr key={i}>
            <th scope="row">{visible(row.label)}</th>
            <td className="jp-LLMOps-number">
              {isNumber(row.value) ? format(row.value) : NONE}
            </td>
            <td className="jp-LLMOps-number">{interval(trans, row, bare)}</td>
            <td className="jp-LLMOps-number">{number(row.n)}</td>
          </tr>
        ))}
      </tbody>
    </table>
  );
}

/** A value with its interval as a small bar on an axis that several share. The numbers stand beside it. */
export function IntervalBar(props: {
  bar: IBar;
  range: IExtent;
  width?: number;
}): React.JSX.Element {
  const { bar, range, width = 64 } = props;
  const x = (value: number) => place(value, range, 3, width - 3);
  const isKnown = isNumber(bar.low) || isNumber(bar.high);
  return (
    <svg
      className="jp-LLMOps-interval"
      width={width}
      height={12}
      viewBox={`0 0 ${width} 12`}
      aria-hidden="true"
    >
      <line
        className="jp-LLMOps-interval-axis"
        x1={3}
        x2={width - 3}
        y1={6}
        y2={6}
      />
      {isKnown && (
        <line
          className="jp-LLMOps-interval-bar"
          x1={isNumber(bar.low) ? x(bar.low) : 3}
          x2={isNumber(bar.high) ? x(bar.high) : width - 3}
          y1={6}
          y2={6}
        />
      )}
      {isNumber(bar.value) && (
        <circle
          className="jp-LLMOps-interval-point"
          cx={x(bar.value)}
          cy={6}
          r={2.5}
        />
      )}
    </svg>
  );
}
