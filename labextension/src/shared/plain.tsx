import { TranslationBundle } from '@jupyterlab/translation';
import * as React from 'react';

import { number } from './quantities';

/**
 * Text from the store with its control characters as pictures, so that escapes of terminals do nothing and are seen.
 *
 * Each character stays one, so that offsets hold.
 */
export function inert(text: string): string {
  return text.replace(/\p{Cc}/gu, character => {
    const code = character.charCodeAt(0);
    if (character === '\n' || character === '\t' || character === '\r') {
      return character;
    }
    return code < 0x20
      ? String.fromCharCode(0x2400 + code)
      : code === 0x7f
        ? '\u2421'
        : '\ufffd';
  });
}

/** A name from the store within a line: it cannot turn round what stands beside it. */
export function Name(props: { text: string }): React.JSX.Element {
  return <bdi>{inert(props.text)}</bdi>;
}

/** The beginning of a text, without half of a character at its end. */
export function beginning(text: string, most: number): string {
  if (text.length <= most) {
    return text;
  }
  const last = text.charCodeAt(most - 1);
  return text.slice(0, last >= 0xd800 && last < 0xdc00 ? most - 1 : most);
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
      {inert(whole ? text : beginning(text, most))}
      {isLong && !whole && '…'}
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
