import { TranslationBundle } from '@jupyterlab/translation';
import * as React from 'react';

import { IMetric, IRunSummary } from '../api';
import { useArrival } from '../shared/arrival';
import { interval, IntervalBar } from '../shared/forest';
import { extent, IExtent } from '../shared/intervals';
import { Pager, usePages } from '../shared/pager';
import { ago, when, number } from '../shared/quantities';
import { Empty } from '../shared/states';
import { visible } from '../shared/visible';
import { bareText, valueText } from './figures';
import { IKnownRuns } from './known';
import { likely, shared } from './place';

const ROWS = 25;
const METRICS = 4;

/** All runs, with a choice of two to compare. */
export function Runs(props: {
  trans: TranslationBundle;
  runs: readonly IRunSummary[];
  known: IKnownRuns;
  /** What was chosen so far; the likely pair stands for what was not. */
  chosen: { a?: string; b?: string };
  onChoose: (chosen: { a: string; b: string }) => void;
  /** Whether to put the focus on the way to a comparison: somebody came back from one. */
  focus: boolean;
  onCompare: (a: string, b: string) => void;
}): React.JSX.Element {
  const { trans, runs, known, chosen, onChoose, onCompare } = props;
  const paged = usePages(runs, ROWS);
  const ranges = React.useMemo(() => rangesOf(runs), [runs]);
  const guess = React.useMemo(() => likely(runs), [runs]);
  const group = React.useId();
  const pair = { a: chosen.a ?? guess.a, b: chosen.b ?? guess.b };
  if (runs.length === 0) {
    return (
      <Empty
        text={trans.__(
          'No runs yet. Run a prompt over a data set with a metric.'
        )}
        advice="%evaluate run PROMPT --data DATA --metric METRIC"
      />
    );
  }
  return (
    <div className="jp-LLMOps-runs">
      <Pair
        trans={trans}
        runs={runs}
        pair={pair}
        focus={props.focus}
        onCompare={onCompare}
      />
      <ul aria-label={trans.__('Runs, newest first')}>
        {paged.rows.map(run => (
          <li key={run.id} className="jp-LLMOps-run">
            <span className="jp-LLMOps-run-choice">
              {(['a', 'b'] as const).map(side => (
                <label key={side}>
                  <input
                    type="radio"
                    name={`${group} ${side}`}
                    checked={pair[side] === run.id}
                    aria-label={
                      side === 'a'
                        ? trans.__('Run %1 as A', visible(run.id))
                        : trans.__('Run %1 as B', visible(run.id))
                    }
                    onChange={() => onChoose({ ...pair, [side]: run.id })}
                  />
                  <span aria-hidden="true">{side.toUpperCase()}</span>
                </label>
              ))}
            </span>
            <Run trans={trans} run={run} ranges={ranges} />
          </li>
        ))}
      </ul>
      {known.trouble !== null && (
        <p className="jp-LLMOps-failure" role="alert">
          {visible(known.trouble)}
        </p>
      )}
      <Pager
        trans={trans}
        paged={paged}
        label={trans.__('Pages of runs')}
        more={known.more}
      />
    </div>
  );
}

/** Which two are chosen, and the way to their comparison; else what is missing. */
function Pair(props: {
  trans: TranslationBundle;
  runs: readonly IRunSummary[];
  pair: { a: string; b: string };
  focus: boolean;
  onCompare: (a: string, b: string) => void;
}): React.JSX.Element {
  const { trans, runs, pair, focus, onCompare } = props;
  const button = useArrival<HTMLButtonElement>(focus);
  const a = runs.find(run => run.id === pair.a);
  const b = runs.find(run => run.id === pair.b);
  const why = hindrance(trans, a, b);
  return (
    <div className="jp-LLMOps-run-pair">
      <dl>
        {(
          [
            ['A', a],
            ['B', b]
          ] as const
        ).map(([side, run]) => (
          <div key={side}>
            <dt>{side}</dt>
            <dd>{run ? runName(run) : '–'}</dd>
          </div>
        ))}
      </dl>
      <button
        ref={button}
        className="jp-LLMOps-button"
        disabled={why !== null}
        onClick={() => onCompare(pair.a, pair.b)}
      >
        {trans.__('Compare A with B')}
      </button>
      {why !== null && (
        <p className="jp-LLMOps-quiet" role="status">
          {why}
        </p>
      )}
    </div>
  );
}

/** Why two runs cannot be compared; null if they can, as far as one sees without their rows. */
function hindrance(
  trans: TranslationBundle,
  a: IRunSummary | undefined,
  b: IRunSummary | undefined
): string | null {
  if (!a || !b) {
    return trans.__('Choose a run as A and one as B, on the same data.');
  }
  if (a.id === b.id) {
    return trans.__('Choose two runs that are not the same.');
  }
  return shared(a, b).length ? null : noMetric(trans, a, b);
}

/** That two runs have no metric in common, and which they have. */
export function noMetric(
  trans: TranslationBundle,
  a: IRunSummary,
  b: IRunSummary
): string {
  const named = (run: IRunSummary) =>
    visible(Object.keys(run.metrics).join(', ')) || trans.__('none');
  return trans.__(
    'They have no metric in common. Run %1 has: %2. Run %3 has: %4.',
    visible(a.id),
    named(a),
    visible(b.id),
    named(b)
  );
}

/** A run in a few words. */
export function runName(run: IRunSummary): string {
  return `${visible(run.id)} · ${visible(run.label)} · ${visible(run.data)}`;
}

function Run(props: {
  trans: TranslationBundle;
  run: IRunSummary;
  ranges: ReadonlyMap<string, IExtent>;
}): React.JSX.Element {
  const { trans, run, ranges } = props;
  const [all, setAll] = React.useState(false);
  const metrics = Object.entries(run.metrics);
  const shown = all ? metrics : metrics.slice(0, METRICS);
  return (
    <div className="jp-LLMOps-run-text">
      <span className="jp-LLMOps-entry-head">
        <span className="jp-LLMOps-quiet">{visible(run.id)}</span>
        <strong className="jp-LLMOps-entry-name" title={visible(run.label)}>
          {visible(run.label)}
        </strong>
        <time
          className="jp-LLMOps-quiet jp-LLMOps-entry-end"
          dateTime={run.started_at}
          title={when(run.started_at)}
        >
          {ago(run.started_at)}
        </time>
      </span>
      <span className="jp-LLMOps-quiet jp-LLMOps-run-facts">
        <span>{visible(run.data)}</span>
        <span>{trans._n('%2 row', '%2 rows', run.rows, number(run.rows))}</span>
        {run.kind && <span>{visible(run.kind)}</span>}
        {!run.finished && (
          <span className="jp-LLMOps-badge" data-state="interrupted">
            {trans.__('broken off')}
          </span>
        )}
      </span>
      {metrics.length > 0 && (
        <Metrics trans={trans} metrics={shown} ranges={ranges} />
      )}
      {metrics.length > METRICS && (
        <button
          className="jp-LLMOps-link"
          aria-expanded={all}
          onClick={() => setAll(!all)}
        >
          {all
            ? trans.__('Show less')
            : trans._n(
                '%1 more metric',
                '%1 more metrics',
                metrics.length - METRICS
              )}
        </button>
      )}
    </div>
  );
}

function Metrics(props: {
  trans: TranslationBundle;
  metrics: readonly [string, IMetric][];
  ranges: ReadonlyMap<string, IExtent>;
}): React.JSX.Element {
  const { trans, metrics, ranges } = props;
  return (
    <dl className="jp-LLMOps-run-metrics">
      {metrics.map(([name, metric]) => (
        <div key={name}>
          <dt title={visible(name)}>{visible(name)}</dt>
          <dd className="jp-LLMOps-number">
            {valueText(metric.value, metric)}
          </dd>
          <dd className="jp-LLMOps-quiet jp-LLMOps-number">
            {interval(
              trans,
              metric,
              value => valueText(value, metric),
              value => bareText(value, metric)
            )}
          </dd>
          <dd>
            <IntervalBar
              bar={metric}
              range={ranges.get(name) ?? { low: 0, high: 1 }}
            />
          </dd>
        </div>
      ))}
    </dl>
  );
}

/** One axis for each metric, so that the bars of all runs can be compared. */
function rangesOf(runs: readonly IRunSummary[]): Map<string, IExtent> {
  const bars = new Map<string, IMetric[]>();
  for (const run of runs) {
    for (const [name, metric] of Object.entries(run.metrics)) {
      const found = bars.get(name);
      if (found) {
        found.push(metric);
      } else {
        bars.set(name, [metric]);
      }
    }
  }
  return new Map([...bars].map(([name, found]) => [name, extent(found)]));
}
