import { TranslationBundle } from '@jupyterlab/translation';
import * as React from 'react';

import { IAliasChange, IPrompt } from '../api';
import { own } from '../shared/own';
import { Pager, usePages } from '../shared/pager';
import { ago, NONE, percent, when, number } from '../shared/quantities';
import { visible } from '../shared/visible';
import { IMoves } from './moves';

const ROWS = 20;

/** Where the aliases point, with a way back for each, and the split that runs. */
export function Aliases(props: {
  trans: TranslationBundle;
  prompt: IPrompt;
  moves: IMoves;
  onShow: (version: number) => void;
}): React.JSX.Element {
  const { trans, prompt, moves, onShow } = props;
  const aliases = Object.entries(prompt.aliases);
  return (
    <section aria-label={trans.__('Aliases')}>
      <h4>{trans.__('Aliases')}</h4>
      {aliases.length === 0 && (
        <p className="jp-LLMOps-quiet">
          {trans.__('None yet. Promote a version to give it one.')}
        </p>
      )}
      <ul className="jp-LLMOps-aliases">
        {aliases.map(([alias, version]) => (
          <li key={alias}>
            <strong>{visible(alias)}</strong>
            <button className="jp-LLMOps-link" onClick={() => onShow(version)}>
              {trans.__('version %1', version)}
            </button>
            <Traces trans={trans} prompt={prompt} version={version} />
            <Back trans={trans} prompt={prompt} alias={alias} moves={moves} />
          </li>
        ))}
      </ul>
      {moves.trouble?.back && <Trouble words={moves.trouble.words} />}
      {prompt.split && <Split trans={trans} split={prompt.split} />}
      {prompt.log.length > 0 && <Log trans={trans} log={prompt.log} />}
    </section>
  );
}

function Traces(props: {
  trans: TranslationBundle;
  prompt: IPrompt;
  version: number;
}): React.JSX.Element {
  const { trans, prompt, version } = props;
  const traces = prompt.versions.find(v => v.version === version)?.traces ?? 0;
  return (
    <span className="jp-LLMOps-quiet">
      {trans._n('%2 trace', '%2 traces', traces, number(traces))}
    </span>
  );
}

/** The way back of an alias; nothing where it has not been elsewhere. */
function Back(props: {
  trans: TranslationBundle;
  prompt: IPrompt;
  alias: string;
  moves: IMoves;
}): React.JSX.Element | null {
  const { trans, prompt, alias, moves } = props;
  const version = own(prompt.back, alias);
  if (version === undefined) {
    return null;
  }
  return (
    <button
      className="jp-LLMOps-button"
      aria-disabled={moves.busy}
      aria-label={trans.__(
        'Roll %1 back to version %2',
        visible(alias),
        version
      )}
      onClick={() => void moves.rollback(alias)}
    >
      {trans.__('Roll back to %1…', version)}
    </button>
  );
}

/** Why an alias was not moved. */
export function Trouble(props: { words: string }): React.JSX.Element {
  return (
    <div className="jp-LLMOps-failure" role="alert">
      <p>{props.words}</p>
    </div>
  );
}

/** The versions that share an alias's traffic. */
function Split(props: {
  trans: TranslationBundle;
  split: NonNullable<IPrompt['split']>;
}): React.JSX.Element {
  const { trans, split } = props;
  const arms = Object.entries(split.arms);
  const total = arms.reduce((sum, [, share]) => sum + share, 0) || 1;
  return (
    <div className="jp-LLMOps-split">
      <h5>{trans.__('Running split of %1', visible(split.alias))} </h5>
      <ul aria-label={visible(split.words)}>
        {arms.map(([version, share]) => (
          <li key={version}>
            <span>{trans.__('version %1', version)}</span>
            <span className="jp-LLMOps-split-track" aria-hidden="true">
              <span style={{ inlineSize: `${(100 * share) / total}%` }} />
            </span>
            <span className="jp-LLMOps-number">
              {percent(share / total, 0)}
            </span>
          </li>
        ))}
      </ul>
    </div>
  );
}

/** Every move of the aliases, newest first. */
function Log(props: {
  trans: TranslationBundle;
  log: readonly IAliasChange[];
}): React.JSX.Element {
  const { trans, log } = props;
  const rows = React.useMemo(
    () => [...log].sort((a, b) => b.at.localeCompare(a.at)),
    [log]
  );
  const paged = usePages(rows, ROWS);
  return (
    <details>
      <summary>
        {trans._n('%1 move of aliases', '%1 moves of aliases', log.length)}
      </summary>
      <table className="jp-LLMOps-columns">
        <caption className="jp-LLMOps-unseen">
          {trans.__('Moves of aliases, newest first')}
        </caption>
        <thead>
          <tr>
            <th scope="col">{trans.__('When')}</th>
            <th scope="col">{trans.__('Alias')}</th>
            <th scope="col">{trans.__('Version')}</th>
            <th scope="col">{trans.__('Note')}</th>
          </tr>
        </thead>
        <tbody>
          {paged.rows.map((change, i) => (
            <tr key={paged.from + i}>
              <td title={when(change.at)}>{ago(change.at)}</td>
              <td>{visible(change.alias)}</td>
              <td>
                {change.previous ?? NONE} →{' '}
                {change.version ?? trans.__('removed')}
              </td>
              <td dir="auto">{visible(change.note)}</td>
            </tr>
          ))}
        </tbody>
      </table>
      <Pager trans={trans} paged={paged} label={trans.__('Pages of moves')} />
    </details>
  );
}
