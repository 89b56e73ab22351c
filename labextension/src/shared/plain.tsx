import * as React from 'react';

import { visible } from './visible';

/** A name from the store within a line: it cannot turn round what stands beside it. */
export function Name(props: { text: string }): React.JSX.Element {
  return <bdi>{visible(props.text)}</bdi>;
}

/** A quiet button that shows more of something, or less. */
export function Toggle(props: {
  open: boolean;
  onToggle: () => void;
  label: string;
}): React.JSX.Element {
  return (
    <button
      className="jp-LLMOps-link"
      aria-expanded={props.open}
      onClick={props.onToggle}
    >
      {props.label}
    </button>
  );
}
