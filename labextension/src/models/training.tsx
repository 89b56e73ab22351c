import { TranslationBundle } from '@jupyterlab/translation';
import * as React from 'react';

import { ITraining } from '../api';
import { ISectionProps } from '../panel/sections';
import { Action } from '../shared/action';
import { Answer } from '../shared/answer';
import { useAsked } from '../shared/asked';
import { Bar } from '../shared/bars';
import { Facts } from '../shared/facts';
import { Fold } from '../shared/fold';
import { Chart } from '../shared/line';
import { LongText } from '../shared/long';
import { magicLine } from '../shared/magicline';
import { Name } from '../shared/plain';
import { ago, NONE, number, seconds, when } from '../shared/quantities';
import { Standing } from '../shared/standing';

/** States in which a run can go on from its last checkpoint. */
const GOES_ON = ['stopped', 'interrupted', 'failed'];

export interface ITrainingProps extends ISectionProps {
  run: ITraining;
  open: boolean;
  onOpen: (open: boolean) => void;
  reveal?: object;
}

export function isRunning(run: ITraining): boolean {
  return run.status === 'running';
}

/** A run that trains an adapter: one line, and its curve while it is open. */
export function TrainingRow(props: ITrainingProps): React.JSX.Element {
  const { trans, run, open, onOpen } = props;
  return (
    <>
      <Fold
        title={<Name text={run.name} />}
        beside={
          <>
            <Standing
              state={run.status}
              text={statusWords(trans, run.status)}
            />{' '}
            <span className="jp-LLMOps-quiet">
              <Name text={run.model} /> · {ago(run.started_at)}
            </span>
          </>
        }
        open={open}
        onOpen={onOpen}
        reveal={props.reveal}
      >
        <Detail {...props} />
      </Fold>
      {isRunning(run) && !open && <Progress trans={trans} run={run} />}
    </>
  );
}

/** The run with its curve, asked for anew whenever there may be more of it. */
function Detail(props: ITrainingProps): React.JSX.Element {
  const { watched, trans, run } = props;
  const asked = useAsked(
    watched,
    ['models'],
    client => client.training(run.id),
    [run.id]
  );
  return (
    <Answer trans={trans} asked={asked}>
      {whole => (
        <>
          <Progress trans={trans} run={whole} bare={true} />
          <LongText
            trans={trans}
            text={whole.words}
            className="jp-LLMOps-quiet"
          />
          <Facts facts={factsOf(trans, whole)} />
          <Curve trans={trans} run={whole} />
          <Actions {...props} run={whole} />
          <Samples trans={trans} run={whole} />
        </>
      )}
    </Answer>
  );
}

/** How far a run is; bare where what is beside the bar stands below it anyway. */
function Progress(props: {
  trans: TranslationBundle;
  run: ITraining;
  bare?: boolean;
}): React.JSX.Element {
  const { trans, run, bare = false } = props;
  const text = trans.__(
    'step %1 of %2',
    number(run.step),
    run.steps ? number(run.steps) : NONE
  );
  const left =
    isRunning(run) && run.left_s !== null
      ? ` · ${trans.__('%1 left', seconds(run.left_s))}`
      : '';
  return (
    <div className="jp-LLMOps-progress">
      <Bar
        role="progressbar"
        label={trans.__('Progress of %1', run.name)}
        share={run.steps ? run.step / run.steps : 0}
        text={text + left}
        state={isRunning(run) ? 'running' : 'done'}
      />
      {!bare && (
        <span className="jp-LLMOps-quiet">
          {text}
          {left}
        </span>
      )}
    </div>
  );
}

function factsOf(
  trans: TranslationBundle,
  run: ITraining
): [string, React.ReactNode][] {
  const [first] = run.evaluation;
  const best = bestOf(run);
  const left = isRunning(run) ? run.left_s : null;
  return [
    [trans.__('Time left'), left === null ? null : seconds(left)],
    [trans.__('Eval, base'), first ? number(first[1], 3) : null],
    [
      trans.__('Eval, best'),
      best
        ? trans.__('%1 at step %2', number(best[1], 3), number(best[0]))
        : null
    ],
    [
      trans.__('Speed'),
      run.tokens_per_s
        ? trans.__('%1 tokens/s', number(run.tokens_per_s))
        : null
    ],
    [
      trans.__('Started'),
      <time key="at" dateTime={run.started_at}>
        {when(run.started_at)}
      </time>
    ],
    [trans.__('Run'), <Name text={run.id} />]
  ];
}

/** Loss over steps: of training, and of the looks at the eval rows with the best one marked. */
function Curve(props: {
  trans: TranslationBundle;
  run: ITraining;
}): React.JSX.Element {
  const { trans, run } = props;
  const { train, evaluation, steps } = run;
  const series = React.useMemo(
    () =>
      [
        { name: trans.__('training'), pairs: train },
        { name: trans.__('eval'), pairs: evaluation }
      ]
        .filter(({ pairs }) => pairs.length > 0)
        .map(({ name, pairs }) => ({
          name,
          points: pairs.map(([x, y]) => ({ x, y }))
        })),
    [trans, train, evaluation]
  );
  const span = React.useMemo(() => [0, Math.max(1, steps)] as const, [steps]);
  const best = bestOf(run);
  const [step, loss] = best ?? [0, 0];
  const found = best !== null;
  const marks = React.useMemo(
    () =>
      found
        ? [{ name: trans.__('best, step %1', number(step)), x: step, y: loss }]
        : [],
    [trans, found, step, loss]
  );
  return (
    <Chart
      trans={trans}
      label={trans.__('Loss over steps (nats for a token)')}
      xName={trans.__('step')}
      series={series}
      marks={marks}
      span={span}
      log={true}
    />
  );
}

/** The best look at the eval rows after the first step. */
function bestOf(run: ITraining): [number, number] | null {
  return run.evaluation
    .filter(([step]) => step > 0)
    .reduce<[number, number] | null>(
      (best, pair) => (best === null || pair[1] < best[1] ? pair : best),
      null
    );
}

function Actions(props: ITrainingProps): React.JSX.Element {
  const { host, trans, run } = props;
  const lines: [string, string | null, boolean][] = [
    [trans.__('Stop'), magicLine('%finetune stop', run.id), isRunning(run)],
    [trans.__('Panel'), magicLine('%finetune panel', run.id), isRunning(run)],
    [
      trans.__('Resume'),
      magicLine('%finetune resume', run.id),
      GOES_ON.includes(run.status)
    ],
    [
      trans.__('Compare with base'),
      magicLine('%finetune show', run.id),
      !isRunning(run)
    ],
    [trans.__('Remove'), magicLine('%finetune remove', run.id), !isRunning(run)]
  ];
  return (
    <div className="jp-LLMOps-actions">
      {lines
        .filter(([, , sensible]) => sensible)
        .map(([label, source]) => (
          <Action
            key={label}
            host={host}
            trans={trans}
            label={label}
            source={source}
          />
        ))}
    </div>
  );
}

/** What the model said to some questions before the training and after it. */
function Samples(props: {
  trans: TranslationBundle;
  run: ITraining;
}): React.JSX.Element | null {
  const { trans, run } = props;
  const [open, setOpen] = React.useState(false);
  if (run.samples.length === 0) {
    return null;
  }
  return (
    <Fold
      level={4}
      title={trans._n('%1 sample', '%1 samples', run.samples.length)}
      open={open}
      onOpen={setOpen}
    >
      {run.samples.map((sample, i) => (
        <div className="jp-LLMOps-sample" key={i}>
          <h5>{trans.__('Asked')}</h5>
          <LongText trans={trans} text={sample.prompt} />
          <h5>{trans.__('Before')}</h5>
          <LongText trans={trans} text={sample.before || NONE} />
          <h5>{trans.__('After')}</h5>
          <LongText trans={trans} text={sample.after || NONE} />
        </div>
      ))}
    </Fold>
  );
}

function statusWords(trans: TranslationBundle, status: string): string {
  const words: Record<string, string> = {
    running: trans.__('running'),
    finished: trans.__('finished'),
    early: trans.__('ended early'),
    stopped: trans.__('stopped'),
    interrupted: trans.__('interrupted'),
    failed: trans.__('failed')
  };
  return new Map(Object.entries(words)).get(status) ?? status;
}
