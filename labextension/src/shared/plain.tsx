import { TranslationBundle } from '@jupyterlab/translation';
import * as React from 'react';

import { number } from './quantities';
import { beginning, visible } from './visible';

/** A name from the store within a line: it cannot turn round what stands beside it. */
export function Name(props: { text: string }): React.JSX.Element {
  return <bdi>{visible(props.text)}</bdi>;
}

/** A text from the store: its beginning, and a button that shows the whole. */
export function Plain(props: {
  trans: TranslationBundle;
  text: string;
  most?: number;
  className?: string;
}): React.JSX.Element {
  const { trans, text, most = 400, className = 'jp-LLMOps-plain' } = props;
  const [whole, setWhole] = React.useState(false);
  const isLong = text.length > most;
  return (
    <div className={className} dir="auto">
      {visible(whole ? text : beginning(text, most))}
      {isLong && (
        <Toggle
          open={whole}
          onToggle={() => setWhole(!whole)}
          label={
            whole
              ? trans.__('Show less')
              : trans.__('Show all %1 characters', number(text.length))
          }
        />
      )}
    </div>
  );
}

/** A quiet button that shows more of something, or less. */
export function Toggle(props: {
  open: boolean;
  onToggle: () => void;
  label: string;
}): React.JSX.Element {
  return (
    <button
      className="jp-LLMOps-toggle"
      aria-expanded={props.open}
      onClick={props.onToggle}
    >
      {props.label}
    </button>
  );
}
