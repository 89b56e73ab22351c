import { TranslationBundle } from '@jupyterlab/translation';
import * as React from 'react';

import { IPrompt } from '../api';
import { Answer } from '../shared/answer';
import { useAsked } from '../shared/asked';
import { Diff } from '../shared/diff';
import { visible } from '../shared/visible';
import { Watched } from '../watched';

/** What changed between two versions of a prompt, and which two. */
export function Changes(props: {
  watched: Watched;
  trans: TranslationBundle;
  prompt: IPrompt;
  pair: [number, number];
  onPick: (a: number, b: number) => void;
}): React.JSX.Element {
  const { watched, trans, prompt, pair, onPick } = props;
  const [a, b] = pair;
  return (
    <section aria-label={trans.__('What changed')}>
      <h4>{trans.__('What changed')}</h4>
      <div className="jp-LLMOps-versionpair">
        <Choice
          prompt={prompt}
          label={trans.__('from')}
          value={a}
          onPick={version => onPick(version, b)}
        />
        <button
          className="jp-LLMOps-button"
          aria-label={trans.__('Swap the two versions')}
          title={trans.__('Swap the two versions')}
          onClick={() => onPick(b, a)}
        >
          ⇄
        </button>
        <Choice
          prompt={prompt}
          label={trans.__('to')}
          value={b}
          onPick={version => onPick(a, version)}
        />
      </div>
      {a === b ? (
        <p className="jp-LLMOps-quiet" role="status">
          {trans.__('Choose two versions that are not the same.')}
        </p>
      ) : (
        <Found key={`${a}..${b}`} {...{ watched, trans, prompt, a, b }} />
      )}
    </section>
  );
}

function Choice(props: {
  prompt: IPrompt;
  label: string;
  value: number;
  onPick: (version: number) => void;
}): React.JSX.Element {
  const { prompt, label, value, onPick } = props;
  return (
    <label>
      <span>{label}</span>
      <select
        value={value}
        onChange={event => onPick(Number(event.target.value))}
      >
        {!prompt.versions.some(v => v.version === value) && (
          <option value={value}>{`@${value}`}</option>
        )}
        {prompt.versions.map(({ version, aliases }) => (
          <option key={version} value={version}>
            {visible([`@${version}`, ...aliases].join(' · '))}
          </option>
        ))}
      </select>
    </label>
  );
}

function Found(props: {
  watched: Watched;
  trans: TranslationBundle;
  prompt: IPrompt;
  a: number;
  b: number;
}): React.JSX.Element {
  const { watched, trans, prompt, a, b } = props;
  const asked = useAsked(
    watched,
    [], // Versions never change.
    client => client.diff(prompt.name, a, b),
    [prompt.name, a, b]
  );
  const whole = prompt.versions.find(v => v.version === b)?.template;
  return (
    <Answer trans={trans} asked={asked}>
      {diff => <Diff trans={trans} diff={diff} whole={whole} />}
    </Answer>
  );
}
