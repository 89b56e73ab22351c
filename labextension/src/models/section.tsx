import * as React from 'react';

import { IModel, IPage, ITraining } from '../api';
import { ISectionProps } from '../panel/sections';
import { Answer } from '../shared/answer';
import { IAsked, useAsked } from '../shared/asked';
import { Bounded } from '../shared/bounded';
import { useOpened } from '../shared/fold';
import { Empty } from '../shared/states';
import { ModelRow } from './model';
import { isRunning, TrainingRow } from './training';

/** What is open, and what was opened last and is to be seen. */
interface IOpened {
  isOpen: (key: string) => boolean;
  setOpen: (key: string, open: boolean) => void;
  revealed: { key: string } | null;
}

/** Registered models with their adapters, and the runs that train these. */
export default function Section(props: ISectionProps): React.JSX.Element {
  const { watched, trans, item } = props;
  const models = useAsked(watched, ['models'], client => client.models());
  const trainings = useAsked(watched, ['models'], client => client.trainings());
  const [isOpen, setOpen] = useOpened();
  const [revealed, setRevealed] = React.useState<IOpened['revealed']>(null);
  const [wanted, setWanted] = React.useState<readonly string[]>([]);
  const opened = { isOpen, setOpen, revealed };
  const reveal = React.useCallback(
    (key: string) => {
      setOpen(key, true);
      setRevealed({ key });
    },
    [setOpen]
  );
  React.useEffect(() => {
    if (item) {
      setOpen(runKey(item), true);
      reveal(modelKey(item));
    }
  }, [item, reveal, setOpen]);

  return (
    <div className="jp-LLMOps-models">
      <Answer trans={trans} asked={trainings}>
        {page =>
          (page.items.length > 0 || wanted.length > 0) && (
            <Trainings
              {...props}
              runs={page.items}
              wanted={wanted}
              opened={opened}
            />
          )
        }
      </Answer>
      <Models
        {...props}
        asked={models}
        opened={opened}
        onRun={run => {
          setWanted(old => [...new Set([...old, run])]);
          reveal(runKey(run));
        }}
      />
    </div>
  );
}

interface ITrainingsProps extends ISectionProps {
  runs: readonly ITraining[];
  /** Runs that somebody asked for; those that are too old for the list stand below it. */
  wanted: readonly string[];
  opened: IOpened;
}

function Trainings(props: ITrainingsProps): React.JSX.Element {
  const { trans, runs, wanted, opened } = props;
  const { setOpen } = opened;
  // A run that goes on is opened once, and stays so when it ends, until somebody closes it.
  const greeted = React.useRef(new Set<string>());
  React.useEffect(() => {
    for (const run of runs) {
      if (isRunning(run) && !greeted.current.has(run.id)) {
        greeted.current.add(run.id);
        setOpen(runKey(run.id), true);
      }
    }
  }, [runs, setOpen]);
  const listed = new Set(runs.map(run => run.id));
  const row = (run: ITraining) => (
    <TrainingRow {...props} run={run} {...foldOf(opened, runKey(run.id))} />
  );
  return (
    <section aria-label={trans.__('Trainings')}>
      <h2>{trans.__('Trainings')}</h2>
      <Bounded
        trans={trans}
        label={trans.__('Trainings')}
        items={[
          ...runs.filter(run => isRunning(run) || wanted.includes(run.id)),
          ...runs.filter(run => !isRunning(run) && !wanted.includes(run.id))
        ]}
        id={run => run.id}
        first={10}
        render={row}
      />
      {wanted
        .filter(id => !listed.has(id))
        .map(id => (
          <Unlisted key={id} {...props} id={id} row={row} />
        ))}
    </section>
  );
}

/** A run that the list is too short for. */
function Unlisted(
  props: ISectionProps & {
    id: string;
    row: (run: ITraining) => React.ReactNode;
  }
): React.JSX.Element {
  const { watched, trans, id, row } = props;
  const asked = useAsked(watched, ['models'], client => client.training(id), [
    id
  ]);
  return (
    <Answer trans={trans} asked={asked}>
      {row}
    </Answer>
  );
}

function Models(
  props: ISectionProps & {
    asked: IAsked<IPage<IModel>>;
    opened: IOpened;
    onRun: (run: string) => void;
  }
): React.JSX.Element {
  const { trans, asked, opened } = props;
  return (
    <section aria-label={trans.__('Models')}>
      <h2>{trans.__('Models')}</h2>
      <Answer trans={trans} asked={asked}>
        {page =>
          page.items.length === 0 ? (
            <Empty
              text={trans.__(
                'No model is registered yet. See which ones this machine has, and add one with %model add.'
              )}
              advice="%model list --found"
            />
          ) : (
            <Bounded
              trans={trans}
              label={trans.__('Models')}
              items={defaultFirst(page.items)}
              id={model => model.name}
              render={model => (
                <ModelRow
                  {...props}
                  model={model}
                  {...foldOf(opened, modelKey(model.name))}
                />
              )}
            />
          )
        }
      </Answer>
    </section>
  );
}

function foldOf({ isOpen, setOpen, revealed }: IOpened, key: string) {
  return {
    open: isOpen(key),
    onOpen: (open: boolean) => setOpen(key, open),
    reveal: revealed?.key === key ? revealed : undefined
  };
}

function modelKey(name: string): string {
  return `model ${name}`;
}

function runKey(id: string): string {
  return `run ${id}`;
}

/** The default first, then what is loaded; what has lost its file last. */
function defaultFirst(models: readonly IModel[]): IModel[] {
  const rank = (model: IModel) =>
    model.is_default ? 0 : model.loaded ? 1 : model.missing ? 3 : 2;
  return [...models].sort((a, b) => rank(a) - rank(b));
}
