import * as React from 'react';

import { IAdapter, ILoaded, IModel } from '../api';
import { ISectionProps } from '../panel/sections';
import { Action } from '../shared/action';
import { Bounded } from '../shared/bounded';
import { Facts } from '../shared/facts';
import { Fold } from '../shared/fold';
import { magicLine } from '../shared/magicline';
import { ago, bytes, NONE, number, when } from '../shared/quantities';
import { Standing } from '../shared/standing';
import { Tuned } from './tuned';

export interface IModelProps extends ISectionProps {
  model: IModel;
  /** The processes that have it loaded. */
  workers: readonly ILoaded[];
  open: boolean;
  onOpen: (open: boolean) => void;
  /** Show the run that made an adapter. */
  onRun: (run: string) => void;
}

/** A model: what it is and needs, its adapters, and what tuning measured. */
export function ModelRow(props: IModelProps): React.JSX.Element {
  const { trans, model, open, onOpen } = props;
  const about = [model.architecture, model.quantization, bytes(model.size)];
  return (
    <Fold
      title={<bdi>{model.name}</bdi>}
      beside={
        <>
          {model.is_default && (
            <Standing state="default" text={trans.__('default')} />
          )}
          {model.loaded && <Standing state="ok" text={trans.__('loaded')} />}
          {model.missing && (
            <Standing state="alert" text={trans.__('file missing')} />
          )}
          <span className="jp-LLMOps-quiet">
            {about.filter(text => text && text !== NONE).join(' · ')}
          </span>
        </>
      }
      open={open}
      onOpen={onOpen}
    >
      {model.missing && <Missing {...props} />}
      <Facts facts={factsOf(props)} />
      <Actions {...props} />
      <Adapters {...props} />
      {model.tuned.length > 0 && <Tuned trans={trans} tuned={model.tuned} />}
    </Fold>
  );
}

function factsOf({
  trans,
  model,
  workers
}: IModelProps): [string, React.ReactNode][] {
  const held = workers.filter(worker => worker.memory !== null);
  const memory = held.reduce((sum, { memory }) => sum + (memory ?? 0), 0);
  return [
    [trans.__('Kind'), model.kind],
    [trans.__('Architecture'), model.architecture],
    [trans.__('Quantization'), model.quantization],
    [trans.__('Size'), model.size === null ? null : bytes(model.size)],
    [
      trans.__('Context'),
      model.context === null
        ? null
        : trans.__('%1 tokens', number(model.context))
    ],
    [
      trans.__('Memory needed'),
      model.memory === null ? null : bytes(model.memory)
    ],
    [
      trans.__('Memory now'),
      held.length === 0
        ? null
        : trans._n(
            '%2 in %1 process',
            '%2 in %1 processes',
            held.length,
            bytes(memory)
          )
    ]
  ];
}

function Missing({ trans, model }: IModelProps): React.JSX.Element {
  return (
    <p className="jp-LLMOps-notice">
      {trans.__(
        'The file of this model is gone or cannot be read. Put it back, or add it from where it is now:'
      )}{' '}
      <code>{magicLine('%model add PATH --name', model.name)}</code>
    </p>
  );
}

function Actions(props: IModelProps): React.JSX.Element {
  const { host, trans, model } = props;
  const isFile = model.kind === 'gguf';
  const lines: [string, string, boolean][] = [
    [trans.__('Use as default'), '%model use', !model.is_default],
    [trans.__('Show'), '%model show', true],
    [trans.__('Verify'), '%model verify', model.kind !== 'endpoint'],
    [trans.__('Tune'), '%model tune', isFile && !model.missing]
  ];
  return (
    <div className="jp-LLMOps-actions">
      {lines
        .filter(([, , sensible]) => sensible)
        .map(([label, command]) => (
          <Action
            key={command}
            host={host}
            trans={trans}
            label={label}
            source={magicLine(command, model.name)}
          />
        ))}
      <Action
        host={host}
        trans={trans}
        label={trans.__('New prompt')}
        source={promptCell(magicLine('%%prompt -m', model.name))}
      />
    </div>
  );
}

function Adapters(props: IModelProps): React.JSX.Element | null {
  const { trans, model } = props;
  if (model.adapters.length === 0) {
    return null;
  }
  return (
    <section aria-label={trans.__('Adapters of %1', model.name)}>
      <h4>{trans.__('Adapters')}</h4>
      <Bounded
        trans={trans}
        label={trans.__('Adapters')}
        items={model.adapters}
        id={adapter => `${adapter.name}@${adapter.version}`}
        first={10}
        render={adapter => <Adapter {...props} adapter={adapter} />}
      />
    </section>
  );
}

function Adapter(
  props: IModelProps & { adapter: IAdapter }
): React.JSX.Element {
  const { host, trans, model, adapter, onRun } = props;
  const { run } = adapter;
  const ref = `${adapter.name}@${adapter.version}`;
  return (
    <div className="jp-LLMOps-row">
      <div>
        <bdi>{ref}</bdi>{' '}
        {adapter.aliases.map(alias => (
          <Standing key={alias} state="alias" text={alias} />
        ))}{' '}
        <time
          className="jp-LLMOps-quiet"
          dateTime={adapter.saved_at}
          title={when(adapter.saved_at)}
        >
          {ago(adapter.saved_at)}
        </time>
      </div>
      <div className="jp-LLMOps-actions">
        <Action
          host={host}
          trans={trans}
          label={trans.__('Use')}
          source={promptCell(
            magicLine('%%prompt -m', model.name, '--adapter', ref)
          )}
        />
        <Action
          host={host}
          trans={trans}
          label={trans.__('Export')}
          source={magicLine(
            '%finetune export',
            ref,
            `exported/${adapter.name}`
          )}
        />
        {run !== null && (
          <button className="jp-LLMOps-button" onClick={() => onRun(run)}>
            {trans.__('Show run')}
          </button>
        )}
      </div>
    </div>
  );
}

/** A cell for a prompt, with a place to write it. */
function promptCell(line: string | null): string | null {
  return line === null ? null : `${line}\n{{ question }}`;
}
