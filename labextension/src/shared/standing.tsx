import { TranslationBundle } from '@jupyterlab/translation';
import * as React from 'react';

import { visible } from './visible';

/** Marks beside the words of a state, as the magics show them; a state is never told by colour alone. */
const MARKS = new Map([
  ['ok', '✓'],
  ['warning', '!'],
  ['alert', '✗'],
  ['no data', '?'],
  ['running', '▸'],
  ['finished', '✓'],
  ['early', '✓'],
  ['stopped', '■'],
  ['interrupted', '!'],
  ['failed', '✗'],
  ['error', '✗'],
  ['open', '▸']
]);

/** How the colours of `base.css` name states. */
const COLOURS = new Map([
  ['finished', 'ok'],
  ['early', 'ok'],
  ['failed', 'error'],
  ['used up', 'alert']
]);

/** A text of so many characters may be cut, and is whole where one points at it. */
const LONG = 20;

/** A state in words with its mark. `text` is the state's own word if left out. */
export function Standing(props: {
  state: string;
  text?: string;
}): React.JSX.Element {
  const { state, text = state } = props;
  const mark = MARKS.get(state) ?? '';
  const colour = COLOURS.get(state) ?? state;
  return (
    <span
      className="jp-LLMOps-badge"
      data-state={colour}
      title={text.length > LONG ? visible(text) : undefined}
    >
      {mark && <span aria-hidden="true">{mark} </span>}
      {visible(text)}
    </span>
  );
}

/** The state of a trace or a span in words. */
export function statusWord(trans: TranslationBundle, status: string): string {
  switch (status) {
    case 'open':
      return trans.__('running');
    case 'ok':
      return trans.__('ok');
    case 'error':
      return trans.__('error');
    case 'interrupted':
      return trans.__('interrupted');
    default:
      return visible(status);
  }
}

/** The state of a trace or a span with its mark. */
export function StatusBadge(props: {
  trans: TranslationBundle;
  status: string;
}): React.JSX.Element {
  const { trans, status } = props;
  return <Standing state={status} text={statusWord(trans, status)} />;
}
