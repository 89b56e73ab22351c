import * as React from 'react';

import { IFrame, widthOf } from './frame';
import { IPoint, isNumber, runsOf } from './points';
import { ITick } from './scale';

/** How series differ beside their colour: dashes of a line, shapes of points. The styles stand in `chart.css`. */
const LOOKS = 6;
/** Lines of at most so many points show each of them. */
const DOTTED = 30;
const RADIUS = 3.5;

export function lookOf(look: number): string {
  return `jp-LLMOps-look jp-LLMOps-look-${look % LOOKS}`;
}

/** Both axes with their ticks, and lines across at the ticks of the upward one. */
export function Axes(props: {
  frame: IFrame;
  across: readonly ITick[];
  upward: readonly ITick[];
}): React.JSX.Element {
  const { frame, across, upward } = props;
  const { left, right, bottom } = frame;
  return (
    <g className="jp-LLMOps-axes">
      {upward.map(({ at, text }) => (
        <React.Fragment key={at}>
          <path
            className="jp-LLMOps-grid"
            d={`M${left},${px(frame.y(at))}H${right}`}
          />
          <text x={left - 5} y={frame.y(at) + 4} textAnchor="end">
            {text}
          </text>
        </React.Fragment>
      ))}
      {spaced(across, frame).map(({ at, text }) => (
        <React.Fragment key={at}>
          <path d={`M${px(frame.x(at))},${bottom}v4`} />
          <text x={frame.x(at)} y={bottom + 16} textAnchor="middle">
            {text}
          </text>
        </React.Fragment>
      ))}
      <path d={`M${left},${frame.top}V${bottom}H${right}`} />
    </g>
  );
}

/** The area between `low` and `high`. */
export function Band(props: {
  frame: IFrame;
  points: readonly IPoint[];
  look: number;
}): React.JSX.Element | null {
  const { frame, points, look } = props;
  const whole = (p: IPoint) => isNumber(p.low) && isNumber(p.high);
  const d = runsOf(points, whole)
    .map(run => {
      const above = run.map(p => place(frame, p.x, p.high as number));
      const below = run.map(p => place(frame, p.x, p.low as number)).reverse();
      return `M${[...above, ...below].join('L')}Z`;
    })
    .join('');
  return d ? <path className={`jp-LLMOps-band ${lookOf(look)}`} d={d} /> : null;
}

/** A line with gaps; what stands alone between two of them is a dot. */
export function Line(props: {
  frame: IFrame;
  points: readonly IPoint[];
  look: number;
}): React.JSX.Element {
  const { frame, points, look } = props;
  const runs = runsOf(points, p => isNumber(p.y));
  const at = (p: IPoint) => place(frame, p.x, p.y as number);
  const lines = runs
    .filter(run => run.length > 1)
    .map(run => `M${run.map(at).join('L')}`)
    .join('');
  const count = runs.reduce((sum, run) => sum + run.length, 0);
  const dots =
    count <= DOTTED ? runs.flat() : runs.filter(run => run.length === 1).flat();
  return (
    <g className={lookOf(look)}>
      {lines && <path className="jp-LLMOps-stroke" d={lines} />}
      {dots.length > 0 && (
        <path
          className="jp-LLMOps-dots"
          d={dots
            .map(p => shape(0, frame.x(p.x), frame.y(p.y as number), 2.2))
            .join('')}
        />
      )}
    </g>
  );
}

/** Points that no line joins, each with its interval. */
export function Points(props: {
  frame: IFrame;
  points: readonly IPoint[];
  look: number;
}): React.JSX.Element {
  const { frame, points, look } = props;
  const seen = points.filter(p => isNumber(p.y));
  const bars = seen
    .filter(p => isNumber(p.low) && isNumber(p.high))
    .map(p => {
      const [x, low, high] = [
        frame.x(p.x),
        frame.y(p.low as number),
        frame.y(p.high as number)
      ].map(px);
      return `M${x},${low}V${high}m-3,0h6M${x},${low}m-3,0h6`;
    })
    .join('');
  return (
    <g className={lookOf(look)}>
      {bars && <path className="jp-LLMOps-whiskers" d={bars} />}
      <path
        className="jp-LLMOps-dots"
        d={seen
          .map(p => shape(look, frame.x(p.x), frame.y(p.y as number), RADIUS))
          .join('')}
      />
    </g>
  );
}

/** A sample of a series for the legend. */
export function Swatch(props: {
  look: number;
  kind: 'line' | 'points';
}): React.JSX.Element {
  const { look, kind } = props;
  return (
    <svg
      className={`jp-LLMOps-swatch ${lookOf(look)}`}
      width={24}
      height={10}
      aria-hidden="true"
    >
      {kind === 'line' ? (
        <path className="jp-LLMOps-stroke" d="M0,5H24" />
      ) : (
        <path className="jp-LLMOps-dots" d={shape(look, 12, 5, RADIUS)} />
      )}
    </svg>
  );
}

/** A sample of a line across, or of a ring. */
export function MarkSwatch(props: { ring: boolean }): React.JSX.Element {
  return (
    <svg
      className="jp-LLMOps-swatch jp-LLMOps-marks"
      width={24}
      height={14}
      aria-hidden="true"
    >
      {props.ring ? <circle cx={12} cy={7} r={5} /> : <path d="M0,7H24" />}
    </svg>
  );
}

/** The outline of a point: circle, diamond, square or triangle. */
function shape(look: number, x: number, y: number, r: number): string {
  const [cx, cy] = [px(x), px(y)];
  switch (look % 4) {
    case 1:
      return `M${cx},${cy}m0,${-1.3 * r}l${1.3 * r},${1.3 * r}l${-1.3 * r},${1.3 * r}l${-1.3 * r},${-1.3 * r}Z`;
    case 2:
      return `M${cx},${cy}m${-r},${-r}h${2 * r}v${2 * r}h${-2 * r}Z`;
    case 3:
      return `M${cx},${cy}m0,${-1.2 * r}l${1.2 * r},${2.2 * r}h${-2.4 * r}Z`;
    default:
      return `M${cx},${cy}m${-r},0a${r},${r} 0 1,0 ${2 * r},0a${r},${r} 0 1,0 ${-2 * r},0Z`;
  }
}

/** Ticks whose texts do not touch; those that would stand out of the picture are left out. */
function spaced(ticks: readonly ITick[], frame: IFrame): ITick[] {
  let free = 0;
  return ticks.filter(({ at, text }) => {
    const half = widthOf(text) / 2;
    const middle = frame.x(at);
    if (middle - half < free || middle + half > frame.width) {
      return false;
    }
    free = middle + half + 6;
    return true;
  });
}

function place(frame: IFrame, x: number, y: number): string {
  return `${px(frame.x(x))},${px(frame.y(y))}`;
}

function px(value: number): number {
  return Math.round(value * 10) / 10;
}
