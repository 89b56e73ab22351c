import { TranslationBundle } from '@jupyterlab/translation';
import * as React from 'react';

import { IPrompt } from '../api';
import { own } from '../shared/own';
import { visible } from '../shared/visible';
import { Trouble } from './aliases';
import { IMoves } from './moves';

const PRODUCTION = 'production';

/** A form that points an alias at a version. Nothing moves before the confirmation that follows. */
export function Promotion(props: {
  trans: TranslationBundle;
  prompt: IPrompt;
  version: number;
  moves: IMoves;
  onClose: () => void;
}): React.JSX.Element {
  const { trans, prompt, version, moves, onClose } = props;
  const [alias, setAlias] = React.useState(PRODUCTION);
  const [note, setNote] = React.useState('');
  const id = React.useId();
  const first = React.useRef<HTMLInputElement>(null);
  React.useEffect(() => first.current?.focus(), []);
  const wanted = alias.trim();
  const now = own(prompt.aliases, wanted);
  const submit = async (event: React.FormEvent) => {
    event.preventDefault();
    if (wanted && (await moves.promote(wanted, version, note.trim()))) {
      onClose();
    }
  };
  return (
    <form
      className="jp-LLMOps-ask"
      aria-label={trans.__('Promote version %1', version)}
      onSubmit={event => void submit(event)}
      onKeyDown={event => {
        if (event.key === 'Escape') {
          event.stopPropagation();
          onClose();
        }
      }}
    >
      <label>
        <span>{trans.__('Alias')}</span>
        <input
          ref={first}
          value={alias}
          list={id}
          required
          onChange={event => setAlias(event.target.value)}
        />
      </label>
      <datalist id={id}>
        {[...new Set([PRODUCTION, ...Object.keys(prompt.aliases)])].map(
          name => (
            <option key={name} value={name} />
          )
        )}
      </datalist>
      <label>
        <span>{trans.__('Why (optional)')}</span>
        <input value={note} onChange={event => setNote(event.target.value)} />
      </label>
      <p className="jp-LLMOps-quiet" role="status">
        {now === undefined
          ? trans.__('%1 is new.', visible(wanted || PRODUCTION))
          : trans.__('%1 is version %2 now.', visible(wanted), now)}
      </p>
      {moves.trouble?.back === false && <Trouble words={moves.trouble.words} />}
      <div className="jp-LLMOps-buttons">
        <button
          className="jp-LLMOps-button"
          type="submit"
          aria-disabled={moves.busy || !wanted}
        >
          {trans.__('Promote…')}
        </button>
        <button className="jp-LLMOps-button" type="button" onClick={onClose}>
          {trans.__('Cancel')}
        </button>
      </div>
    </form>
  );
}
