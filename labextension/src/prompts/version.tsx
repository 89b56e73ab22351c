import { TranslationBundle } from '@jupyterlab/translation';
import * as React from 'react';

import { IPrompt, IPromptVersion } from '../api';
import { IHost } from '../host';
import { copy, insert } from '../shared/errands';
import { number, when } from '../shared/quantities';
import { beginning, visible } from '../shared/visible';
import { IMoves } from './moves';
import { Promotion } from './promotion';
import { Template } from './template';

/** One version: what may be done with it, its text, and the settings of its last run. */
export function Version(props: {
  trans: TranslationBundle;
  host: IHost;
  prompt: IPrompt;
  version: IPromptVersion;
  moves: IMoves;
  onTraces: (reference: string) => void;
}): React.JSX.Element {
  const { trans, host, prompt, version, moves, onTraces } = props;
  const [promoting, setPromoting] = React.useState(false);
  const opener = React.useRef<HTMLButtonElement>(null);
  const close = () => {
    setPromoting(false);
    opener.current?.focus();
  };
  const reference = `${prompt.name}@${version.version}`;
  const isNewest = version.version === prompt.versions[0].version;
  return (
    <section aria-label={trans.__('Version %1', version.version)}>
      <h4 className="jp-LLMOps-entry-head">
        <span>{trans.__('Version %1', version.version)}</span>
        <span className="jp-LLMOps-quiet jp-LLMOps-entry-end">
          {when(version.saved_at)}
        </span>
      </h4>
      {version.note && (
        <p className="jp-LLMOps-remark" dir="auto">
          {visible(version.note)}
        </p>
      )}
      <div className="jp-LLMOps-buttons">
        <button
          ref={opener}
          className="jp-LLMOps-button"
          aria-expanded={promoting}
          aria-disabled={moves.busy}
          onClick={() => setPromoting(!promoting)}
        >
          {trans.__('Promote…')}
        </button>
        <button
          className="jp-LLMOps-button"
          title={trans.__(
            'Put the cell of this version below the active one. It runs as this version as long as its text is not changed.'
          )}
          onClick={() => void insert(host, trans, version.cell)}
        >
          {isNewest
            ? trans.__('Insert into notebook')
            : trans.__('Load this version')}
        </button>
        <button
          className="jp-LLMOps-button"
          onClick={() => void copy(host, trans, version.template)}
        >
          {trans.__('Copy')}
        </button>
        <button
          className="jp-LLMOps-button"
          onClick={() => onTraces(reference)}
        >
          {trans._n(
            '%2 trace',
            '%2 traces',
            version.traces,
            number(version.traces)
          )}{' '}
          →
        </button>
      </div>
      {promoting && (
        <Promotion
          trans={trans}
          prompt={prompt}
          version={version.version}
          moves={moves}
          onClose={close}
        />
      )}
      <Template trans={trans} text={version.template} />
      <Settings trans={trans} settings={version.settings} />
    </section>
  );
}

/** The settings of a version's last run that say something. */
function Settings(props: {
  trans: TranslationBundle;
  settings: Readonly<Record<string, unknown>>;
}): React.JSX.Element | null {
  const { trans, settings } = props;
  const said = Object.entries(settings).filter(
    ([, value]) =>
      value !== null &&
      value !== '' &&
      !(Array.isArray(value) && value.length === 0)
  );
  if (said.length === 0) {
    return null;
  }
  return (
    <details>
      <summary>{trans.__('Settings of the last run')}</summary>
      <dl className="jp-LLMOps-settings">
        {said.map(([key, value]) => {
          const text = visible(
            typeof value === 'string' ? value : JSON.stringify(value)
          );
          return (
            <div key={key}>
              <dt>{visible(key)}</dt>
              <dd dir="auto" title={text}>
                {beginning(text, 400)}
              </dd>
            </div>
          );
        })}
      </dl>
    </details>
  );
}
