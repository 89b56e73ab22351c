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
  ['failed', '✗']
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
