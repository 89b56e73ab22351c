import * as React from 'react';

import { IAdapter, IModel } from '../api';
import { ISectionProps } from '../panel/sections';
import { Action } from '../shared/action';
import { Bounded } from '../shared/bounded';
import { Facts } from '../shared/facts';
import { Fold } from '../shared/fold';
import { magicLine } from '../shared/magicline';
import { Name } from '../shared/plain';
import { bytes, NONE, number } from '../shared/quantities';
import { Ago, Row } from '../shared/row';
import { Standing } from '../shared/standing';
import { visible } from '../shared/visible';
import { Tuned } from './tuned';

export interface IModelProps extends ISectionProps {
  model: IModel;
  open: boolean;
  onOpen: (open: boolean) => void;
  reveal?: object;
  /** Show the run that made an adapter. */
  onRun: (run: string) => void;
}

/** A model: what it is and needs, its adapters, and what tuning measured. */
export function ModelRow(props: IModelProps): React.JSX.Element {
  const { trans, model, open, onOpen } = props;
  const about = [model.architecture, model.quantization, bytes(model.size)];
  return (
    <Fold
      title={<Name text={model.name} />}
      beside={
        <>
          {model.is_default && (
            <Standing state="default" text={trans.__('default')} />
          )}{' '}
          {model.loaded && <Standing state="ok" text={trans.__('loaded')} />}{' '}
          {model.missing && (
            <Standing state="alert" text={trans.__('file missing')} />
          )}{' '}
          <span className="jp-LLMOps-quiet">
            {visible(about.filter(text => text && text !== NONE).join(' · '))}
          </span>
        </>
      }
      open={open}
      onOpen={onOpen}
      reveal={props.reveal}
    >
      {model.missing && <Missing {...props} />}
      <Facts facts={factsOf(props)} />
      <Actions {...props} />
      <Adapters {...props} />
      {model.tuned.length > 0 && <Tuned trans={trans} tuned={model.tuned} />}
    </Fold>
  );
}

function factsOf({ trans, model }: IModelProps): [string, React.ReactNode][] {
  const { size, context, memory } = model;
  return [
    [trans.__('Kind'), model.kind],
    [trans.__('Architecture'), model.architecture],
    [trans.__('Quantization'), model.quantization],
    [trans.__('Size'), size === null ? null : bytes(size)],
    [
      trans.__('Context'),
      context === null ? null : trans.__('%1 tokens', number(context))
    ],
    [
      model.loaded ? trans.__('Memory in use') : trans.__('Memory needed'),
      memory === null ? null : bytes(memory)
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

/** What makes sense for a model of its kind. */
function Actions(props: IModelProps): React.JSX.Element {
  const { host, trans, model } = props;
  const { name, kind, missing } = model;
  const answers = ['gguf', 'mlx', 'endpoint'].includes(kind);
  const lines: [string, string | null, boolean][] = [
    [
      trans.__('New prompt'),
      promptCell(magicLine('%%prompt -m', name)),
      answers && !missing
    ],
    [
      trans.__('Use as default'),
      magicLine('%model use', name),
      answers && !model.is_default
    ],
    [trans.__('Show'), magicLine('%model show', name), true],
    [trans.__('Verify'), magicLine('%model verify', name), kind !== 'endpoint'],
    [
      trans.__('Tune'),
      magicLine('%model tune', name),
      kind === 'gguf' && !missing
    ]
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
  const line = magicLine('%%prompt -m', model.name);
  return (
    <Row
      head={
        <>
          <Name text={ref} />{' '}
          {adapter.aliases.map(alias => (
            <Standing key={alias} state="alias" text={alias} />
          ))}{' '}
          <Ago at={adapter.saved_at} />
        </>
      }
      actions={
        <>
          <Action
            host={host}
            trans={trans}
            label={trans.__('Use')}
            source={promptCell(line && magicLine(`${line} --adapter`, ref))}
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
        </>
      }
    />
  );
}

/** A cell for a prompt, with a place to write it. */
function promptCell(line: string | null): string | null {
  return line === null ? null : `${line}\n{{ question }}`;
}
