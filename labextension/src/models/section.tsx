import * as React from 'react';

import { ILoaded, IModel, IPage, ITraining } from '../api';
import { ISectionProps } from '../panel/sections';
import { Answer } from '../shared/answer';
import { IAsked, useAsked } from '../shared/asked';
import { Bounded } from '../shared/bounded';
import { useOpened } from '../shared/fold';
import { Empty } from '../shared/states';
import { ModelRow } from './model';
import { isRunning, TrainingRow } from './training';

type Opened = ReturnType<typeof useOpened>;

/** Registered models with their adapters, and the runs that train these. */
export default function Section(props: ISectionProps): React.JSX.Element {
  const { watched, trans, item } = props;
  const models = useAsked(watched, ['models'], client => client.models());
  const trainings = useAsked(watched, ['models'], client => client.trainings());
  const opened = useOpened();
  const [, setOpen] = opened;
  React.useEffect(() => {
    if (item) {
      setOpen(modelKey(item), true);
      setOpen(runKey(item), true);
    }
  }, [item, setOpen]);

  return (
    <div className="jp-LLMOps-models">
      <Answer trans={trans} asked={trainings}>
        {page =>
          page.items.length > 0 && (
            <Trainings {...props} runs={page.items} opened={opened} />
          )
        }
      </Answer>
      <Models {...props} asked={models} opened={opened} />
    </div>
  );
}

function Trainings(
  props: ISectionProps & { runs: readonly ITraining[]; opened: Opened }
): React.JSX.Element {
  const { trans, runs, opened } = props;
  const [isOpen, setOpen] = opened;
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
  const ordered = [
    ...runs.filter(isRunning),
    ...runs.filter(run => !isRunning(run))
  ];
  return (
    <section aria-label={trans.__('Trainings')}>
      <h2>{trans.__('Trainings')}</h2>
      <Bounded
        trans={trans}
        label={trans.__('Trainings')}
        items={ordered}
        id={run => run.id}
        first={10}
        render={run => (
          <TrainingRow
            {...props}
            run={run}
            open={isOpen(runKey(run.id))}
            onOpen={open => setOpen(runKey(run.id), open)}
          />
        )}
      />
    </section>
  );
}

function Models(
  props: ISectionProps & { asked: IAsked<IPage<IModel>>; opened: Opened }
): React.JSX.Element {
  const { watched, trans, asked, opened } = props;
  const [isOpen, setOpen] = opened;
  const status = useAsked(watched, ['models'], client => client.status());
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
                  workers={workersOf(model, status.body?.models ?? [])}
                  open={isOpen(modelKey(model.name))}
                  onOpen={open => setOpen(modelKey(model.name), open)}
                  onRun={run => setOpen(runKey(run), true)}
                />
              )}
            />
          )
        }
      </Answer>
    </section>
  );
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

/** The processes that have loaded a model, whichever version of it. */
function workersOf(model: IModel, loaded: readonly ILoaded[]): ILoaded[] {
  return loaded.filter(
    one => one.model === model.name || one.model.split('@')[0] === model.name
  );
}
