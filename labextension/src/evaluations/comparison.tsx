import { TranslationBundle } from '@jupyterlab/translation';
import * as React from 'react';

import { IComparison, IRunSummary } from '../api';
import { IHost } from '../host';
import { Answer } from '../shared/answer';
import { useArrival } from '../shared/arrival';
import { useAsked } from '../shared/asked';
import { Facts } from '../shared/facts';
import { Forest, IForestRow, interval, Tone } from '../shared/forest';
import { own } from '../shared/own';
import { number, percent } from '../shared/quantities';
import { visible } from '../shared/visible';
import { Watched } from '../watched';
import { Changed } from './changed';
import {
  bareText,
  differenceText,
  probabilityText,
  tickText,
  valueText
} from './figures';
import { itemOf, IPair, shared } from './place';
import { noMetric, runName } from './runs';

interface IComparisonProps {
  watched: Watched;
  host: IHost;
  trans: TranslationBundle;
  runs: readonly IRunSummary[];
  pair: IPair;
  /** Whether to put the focus on its heading: somebody came from the list. */
  focus: boolean;
  onPair: (pair: IPair) => void;
  onBack: () => void;
}

/** Two runs by a metric: what may be said first, then how sure it is, then the rows behind it. */
export function Comparison(props: IComparisonProps): React.JSX.Element {
  const { watched, host, trans, runs, pair, onBack } = props;
  const heading = useArrival<HTMLHeadingElement>(props.focus);
  const a = runs.find(run => run.id === pair.a);
  const b = runs.find(run => run.id === pair.b);
  const common = shared(a, b);
  // Of runs that are too old to be in the list only the server knows the metrics.
  const metric =
    a && b && !common.includes(pair.metric) ? (common[0] ?? '') : pair.metric;
  return (
    <article className="jp-LLMOps-comparison">
      <button className="jp-LLMOps-link jp-LLMOps-back" onClick={onBack}>
        {trans.__('‹ All runs')}
      </button>
      <h3 ref={heading} tabIndex={-1}>
        {trans.__('Run %1 against run %2', visible(pair.b), visible(pair.a))}
      </h3>
      <Choice {...props} metric={metric} common={common} />
      {pair.metric !== '' && metric !== '' && metric !== pair.metric && (
        <p className="jp-LLMOps-quiet" role="status">
          {trans.__(
            'The two runs do not both have %1; this is %2.',
            visible(pair.metric),
            visible(metric)
          )}
        </p>
      )}
      {metric === '' ? (
        <p role="status">
          {a && b
            ? noMetric(trans, a, b)
            : trans.__('Choose two runs from the list.')}
        </p>
      ) : pair.a === pair.b ? (
        <p role="status">
          {trans.__('Choose two runs that are not the same.')}
        </p>
      ) : (
        <Found
          key={itemOf({ ...pair, metric })}
          {...{ watched, host, trans, metric }}
          a={pair.a}
          b={pair.b}
        />
      )}
    </article>
  );
}

function Choice(
  props: IComparisonProps & { metric: string; common: readonly string[] }
): React.JSX.Element {
  const { trans, runs, pair, onPair, metric, common } = props;
  const metrics = common.includes(metric) ? common : [metric, ...common];
  return (
    <div className="jp-LLMOps-ask jp-LLMOps-comparison-choice">
      <RunChoice
        runs={runs}
        label={trans.__('A')}
        value={pair.a}
        onPick={a => onPair({ ...pair, a })}
      />
      <RunChoice
        runs={runs}
        label={trans.__('B')}
        value={pair.b}
        onPick={b => onPair({ ...pair, b })}
      />
      <label>
        <span>{trans.__('Metric')}</span>
        <select
          value={metric}
          onChange={event => onPair({ ...pair, metric: event.target.value })}
        >
          {metrics.map(name => (
            <option key={name} value={name}>
              {visible(name)}
            </option>
          ))}
        </select>
      </label>
      <button
        className="jp-LLMOps-button"
        onClick={() => onPair({ ...pair, a: pair.b, b: pair.a })}
      >
        {trans.__('Swap A and B')}
      </button>
    </div>
  );
}

function RunChoice(props: {
  runs: readonly IRunSummary[];
  label: string;
  value: string;
  onPick: (id: string) => void;
}): React.JSX.Element {
  const { runs, label, value, onPick } = props;
  return (
    <label>
      <span>{label}</span>
      <select value={value} onChange={event => onPick(event.target.value)}>
        {!runs.some(run => run.id === value) && (
          <option value={value}>{visible(value)}</option>
        )}
        {runs.map(run => (
          <option key={run.id} value={run.id}>
            {runName(run)}
          </option>
        ))}
      </select>
    </label>
  );
}

interface IFoundProps {
  watched: Watched;
  host: IHost;
  trans: TranslationBundle;
  a: string;
  b: string;
  metric: string;
}

/** The comparison and its slices. The form stays as it is while the answer is another. */
function Found(props: IFoundProps): React.JSX.Element {
  const [slices, setSlices] = React.useState('');
  const [columns, setColumns] = React.useState<readonly string[]>([]);
  return (
    <>
      <Slices
        trans={props.trans}
        columns={columns}
        value={slices}
        onSlices={setSlices}
      />
      <Compared
        key={slices}
        {...props}
        slices={slices}
        onColumns={setColumns}
      />
    </>
  );
}

function Compared(
  props: IFoundProps & {
    slices: string;
    onColumns: (columns: readonly string[]) => void;
  }
): React.JSX.Element {
  const { watched, host, trans, a, b, metric, slices, onColumns } = props;
  const asked = useAsked(
    watched,
    ['evaluations'],
    client => client.compare(a, b, metric, slices || undefined),
    [a, b, metric, slices]
  );
  const columns = asked.body?.columns;
  React.useEffect(() => {
    if (columns) {
      onColumns(columns);
    }
  }, [columns, onColumns]);
  return (
    <Answer trans={trans} asked={asked}>
      {body => (
        <>
          <Verdict trans={trans} comparison={body} />
          <Forest
            trans={trans}
            rows={forestRows(trans, body, slices)}
            title={trans.__('Difference on %1', visible(body.metric))}
            axis={axis(trans, body)}
            format={value => differenceText(trans, value, body)}
            bare={value => bareText(value, body, true)}
            tick={value => tickText(value, body)}
          />
          <Beside trans={trans} comparison={body} />
          <Changed
            trans={trans}
            host={host}
            rows={body.changed}
            count={body.n_changed}
            measure={body}
            names={[body.a, body.b]}
          />
        </>
      )}
    </Answer>
  );
}

/** What may be said, first. */
function Verdict(props: {
  trans: TranslationBundle;
  comparison: IComparison;
}): React.JSX.Element {
  const { trans, comparison } = props;
  const said: Record<string, { label: string; state: string }> = {
    better: { label: trans.__('B is better'), state: 'ok' },
    worse: { label: trans.__('B is worse'), state: 'alert' },
    'not worse': { label: trans.__('B is not worse'), state: 'ok' },
    undecided: { label: trans.__('not yet'), state: 'open' }
  };
  const { label, state } = own(said, comparison.verdict) ?? {
    label: visible(comparison.verdict),
    state: 'open'
  };
  return (
    <div className="jp-LLMOps-verdict" data-state={state}>
      <span className="jp-LLMOps-badge" data-state={state}>
        {label}
      </span>
      <p dir="auto">
        <strong>{visible(comparison.words)}</strong>
      </p>
    </div>
  );
}

function tone(comparison: IComparison): Tone {
  return comparison.verdict === 'better' || comparison.verdict === 'not worse'
    ? 'better'
    : comparison.verdict === 'worse'
      ? 'worse'
      : 'open';
}

function forestRows(
  trans: TranslationBundle,
  comparison: IComparison,
  slices: string
): IForestRow[] {
  return [
    {
      ...comparison.difference,
      label: trans.__('all rows'),
      strong: true,
      tone: tone(comparison)
    },
    ...comparison.slices.map(({ name, difference }) => ({
      ...difference,
      label: `${slices}=${name}`
    }))
  ];
}

/** What the axis of the differences measures. */
function axis(trans: TranslationBundle, comparison: IComparison): string {
  const unit =
    comparison.drawn === 'rate'
      ? trans.__('points')
      : comparison.unit || trans.__('score');
  return comparison.higher_is_better
    ? trans.__('B − A in %1 (higher is better)', unit)
    : trans.__('B − A in %1 (lower is better)', unit);
}

/** A column of the data by whose values the difference is looked at one by one. */
function Slices(props: {
  trans: TranslationBundle;
  columns: readonly string[];
  value: string;
  onSlices: (column: string) => void;
}): React.JSX.Element {
  const { trans, columns, value, onSlices } = props;
  const [typed, setTyped] = React.useState(value);
  const id = React.useId();
  return (
    <form
      className="jp-LLMOps-strip"
      onSubmit={event => {
        event.preventDefault();
        onSlices(typed.trim());
      }}
    >
      <input
        aria-label={trans.__('Column to slice by')}
        placeholder={trans.__('Slice by a column')}
        value={typed}
        list={id}
        onChange={event => setTyped(event.target.value)}
      />
      <datalist id={id}>
        {columns.slice(0, 100).map(column => (
          <option key={column} value={column} />
        ))}
      </datalist>
      <button className="jp-LLMOps-button" type="submit">
        {trans.__('Slice')}
      </button>
      {value !== '' && (
        <button
          className="jp-LLMOps-button"
          type="button"
          onClick={() => onSlices('')}
        >
          {trans.__('No slices')}
        </button>
      )}
    </form>
  );
}

/** What a careful reader wants to know beside it. */
function Beside(props: {
  trans: TranslationBundle;
  comparison: IComparison;
}): React.JSX.Element {
  const { trans, comparison } = props;
  const { difference } = comparison;
  const figures: [string, string][] = [
    [
      trans.__('A'),
      `${valueText(comparison.a_value, comparison)} · ${comparison.a}`
    ],
    [
      trans.__('B'),
      `${valueText(comparison.b_value, comparison)} · ${comparison.b}`
    ],
    [
      trans.__('Difference'),
      differenceText(trans, difference.value, comparison)
    ],
    [
      trans.__('%1 interval', percent(comparison.level, 1)),
      interval(
        trans,
        difference,
        value => differenceText(trans, value, comparison),
        value => bareText(value, comparison, true)
      )
    ],
    [trans.__('p'), probabilityText(comparison.p_value)],
    [trans.__('Rows'), number(difference.n)],
    [trans.__('Look'), number(comparison.look)]
  ];
  return (
    <>
      <Facts facts={figures} />
      {comparison.notes.length > 0 && (
        <ul className="jp-LLMOps-remarks" aria-label={trans.__('Notes')}>
          {comparison.notes.map((note, i) => (
            <li key={i} dir="auto">
              {visible(note)}
            </li>
          ))}
        </ul>
      )}
    </>
  );
}
