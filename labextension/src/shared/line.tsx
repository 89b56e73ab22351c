import { TranslationBundle } from '@jupyterlab/translation';
import * as React from 'react';

import { Axes, Band, Line, lookOf, Points } from './drawing';
import {
  countUndrawn,
  drawable,
  Drawn,
  frameOf,
  IAxes,
  IFrame,
  IMark,
  ISeries,
  stepTo
} from './frame';
import { isNumber, nearest, stopsOf, thinned } from './points';
import { number, NONE } from './quantities';
import {
  ChartTable,
  IReading,
  IWords,
  Legend,
  readingOf,
  readingWords
} from './readout';
import { ITick, momentWords } from './scale';
import { useWidth } from './width';

/** Points of a series that are drawn at most. */
const MOST_DRAWN = 2000;

export interface IChartProps extends IAxes {
  trans: TranslationBundle;
  /** What is shown, with its unit: the caption and the accessible name. */
  label: string;
  series: readonly ISeries[];
  /** The name of what is across, as in "step 120". */
  xName: string;
  /** A value in words; a number with three decimals if left out. */
  format?: (value: number) => string;
  formatX?: (value: number) => string;
  /** Offer a logarithmic axis. */
  log?: boolean;
  /** Leave the table out, where the same stands in one beside it. */
  noTable?: boolean;
}

/**
 * Lines, bands and points over numbers or time.
 *
 * The picture is a slider for the keyboard and for screen readers: arrows go from point to point and read what is
 * there. It is drawn from the left to the right in every language, as its numbers are.
 */
export function Chart(props: IChartProps): React.JSX.Element {
  const { trans, series, log: offersLog = false } = props;
  const [log, setLog] = React.useState(false);
  const drawn = React.useMemo(
    () =>
      series.map((one, i) => ({
        name: one.name,
        kind: one.kind ?? ('line' as const),
        look: one.look ?? i,
        area: one.area ?? false,
        points: thinned(drawable(one.points, log), MOST_DRAWN)
      })),
    [series, log]
  );
  const stops = React.useMemo(() => stopsOf(drawn.map(s => s.points)), [drawn]);
  return (
    <figure className="jp-LLMOps-chart">
      <figcaption>
        <span>{props.label}</span>
        {offersLog && (
          <label>
            <input
              type="checkbox"
              checked={log}
              onChange={event => setLog(event.target.checked)}
            />
            {trans.__('log')}
          </label>
        )}
      </figcaption>
      {stops.length > 0 ? (
        <Body {...props} drawn={drawn} stops={stops} log={log} />
      ) : (
        <p className="jp-LLMOps-quiet">{trans.__('No values yet.')}</p>
      )}
      {log && <Undrawn trans={trans} series={series} />}
    </figure>
  );
}

interface IBodyProps extends IChartProps {
  drawn: readonly Drawn[];
  stops: readonly number[];
  log: boolean;
}

/** The picture, with what is read off it. */
function Body(props: IBodyProps): React.JSX.Element {
  const { trans, drawn, stops, xName } = props;
  const [x, setX] = React.useState<number | null>(null);
  const at = x === null ? stops.length - 1 : nearest(stops, x);
  const words = wordsOf(props);
  const readings = drawn.map(one => readingOf(one, stops[at]));
  const place = `${xName} ${words.x(stops[at])}`.trim();
  const told = readings.map(
    one => `${one.name}: ${readingWords(trans, one, words)}`
  );
  return (
    <>
      <Picture
        {...props}
        at={at}
        pointed={x !== null}
        readings={readings}
        onPoint={setX}
        text={[place, ...told].join('; ')}
      />
      <Legend
        trans={trans}
        place={place}
        readings={readings}
        marks={props.marks ?? []}
        words={words}
      />
      {!props.noTable && (
        <ChartTable
          trans={trans}
          label={props.label}
          series={props.series}
          xName={xName || trans.__('time')}
          words={words}
        />
      )}
    </>
  );
}

function Undrawn(props: {
  trans: TranslationBundle;
  series: readonly ISeries[];
}): React.JSX.Element | null {
  const count = countUndrawn(props.series);
  if (count === 0) {
    return null;
  }
  return (
    <p className="jp-LLMOps-quiet">
      {props.trans._n(
        '%1 value at or below 0 is not drawn.',
        '%1 values at or below 0 are not drawn.',
        count
      )}
    </p>
  );
}

interface IPictureProps extends IBodyProps {
  at: number;
  pointed: boolean;
  readings: readonly IReading[];
  text: string;
  onPoint: (x: number | null) => void;
}

function Picture(props: IPictureProps): React.JSX.Element {
  const { drawn, stops, at, pointed, readings } = props;
  const [box, width] = useWidth<HTMLDivElement>(280);
  const { log, across: kind, marks, span, zero, height } = props;
  const { frame, across, upward } = React.useMemo(
    () =>
      frameOf(width, drawn, log, { across: kind, marks, span, zero, height }),
    [width, drawn, log, kind, marks, span, zero, height]
  );
  const still = React.useMemo(
    () => <Still frame={frame} across={across} upward={upward} drawn={drawn} />,
    [frame, across, upward, drawn]
  );
  return (
    <div
      ref={box}
      className="jp-LLMOps-plot"
      role="slider"
      tabIndex={0}
      aria-label={props.label}
      aria-orientation="horizontal"
      aria-valuemin={1}
      aria-valuemax={stops.length}
      aria-valuenow={at + 1}
      aria-valuetext={props.text}
      {...pointing(props, frame)}
    >
      <svg
        width={frame.width}
        height={frame.height}
        viewBox={`0 0 ${frame.width} ${frame.height}`}
        aria-hidden="true"
        focusable="false"
      >
        {still}
        <Marks frame={frame} marks={marks ?? []} />
        {pointed && <Cursor frame={frame} x={stops[at]} readings={readings} />}
      </svg>
    </div>
  );
}

/** What the mouse and the keys do: go to a stop, or to none. */
function pointing(
  { stops, at, onPoint }: IPictureProps,
  frame: IFrame
): React.HTMLAttributes<HTMLElement> {
  return {
    onKeyDown: event => {
      const to = stepTo(event.key, at, stops.length);
      if (to !== null) {
        event.preventDefault();
        event.stopPropagation();
        onPoint(stops[to]);
      } else if (event.key === 'Escape') {
        onPoint(null);
      }
    },
    onMouseMove: event => {
      const { left } = event.currentTarget.getBoundingClientRect();
      const places = stops.map(frame.x);
      onPoint(stops[nearest(places, event.clientX - left)]);
    },
    onMouseLeave: event => {
      if (event.currentTarget !== document.activeElement) {
        onPoint(null);
      }
    },
    onFocus: () => onPoint(stops[at]),
    onBlur: () => onPoint(null)
  };
}

/** What does not change while one points at it. */
function Still(props: {
  frame: IFrame;
  across: readonly ITick[];
  upward: readonly ITick[];
  drawn: readonly Drawn[];
}): React.JSX.Element {
  const { frame, drawn } = props;
  return (
    <>
      <Axes frame={frame} across={props.across} upward={props.upward} />
      {drawn.map(
        ({ kind, points, look }, i) =>
          kind !== 'points' && (
            <Band key={i} frame={frame} points={points} look={look} />
          )
      )}
      {drawn.map(({ kind, points, look }, i) =>
        kind === 'points' ? (
          <Points key={i} frame={frame} points={points} look={look} />
        ) : (
          <Line key={i} frame={frame} points={points} look={look} />
        )
      )}
    </>
  );
}

function Marks(props: {
  frame: IFrame;
  marks: readonly IMark[];
}): React.JSX.Element {
  const { frame, marks } = props;
  return (
    <g className="jp-LLMOps-marks">
      {marks
        .filter(({ y }) => Number.isFinite(frame.y(y)))
        .map(({ x, y }, i) =>
          x === undefined ? (
            <path key={i} d={`M${frame.left},${frame.y(y)}H${frame.right}`} />
          ) : (
            <circle key={i} cx={frame.x(x)} cy={frame.y(y)} r={6} />
          )
        )}
    </g>
  );
}

function Cursor(props: {
  frame: IFrame;
  x: number;
  readings: readonly IReading[];
}): React.JSX.Element {
  const { frame, x, readings } = props;
  return (
    <g className="jp-LLMOps-cursor">
      <path d={`M${frame.x(x)},${frame.top}V${frame.bottom}`} />
      {readings.flatMap(({ points, look }, i) =>
        points
          .filter(p => isNumber(p.y))
          .map((p, j) => (
            <circle
              key={`${i} ${j}`}
              className={lookOf(look)}
              cx={frame.x(p.x)}
              cy={frame.y(p.y as number)}
              r={4}
            />
          ))
      )}
    </g>
  );
}

function wordsOf(props: IChartProps): IWords {
  const formatX =
    props.formatX ?? (props.across === 'time' ? momentWords : number);
  const format = props.format ?? ((value: number) => number(value, 3));
  return {
    x: value => formatX(value),
    y: value => (value === null ? NONE : format(value))
  };
}
