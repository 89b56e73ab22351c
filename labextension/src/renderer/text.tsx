import { TranslationBundle } from '@jupyterlab/translation';
import * as React from 'react';

import { number } from '../shared/quantities';
import { visible } from '../shared/visible';
import { json } from './read';

/** Characters and lines of a text that are shown before it is asked for whole. */
const MOST = 1500;
const MOST_LINES = 24;

/** The beginning of a text, never half a character. */
export function beginning(text: string, most = MOST): string {
  let end = Math.min(text.length, most);
  for (let line = 0, at = -1; line < MOST_LINES; line += 1) {
    at = text.indexOf('\n', at + 1);
    if (at < 0 || at >= end) {
      break;
    }
    if (line === MOST_LINES - 1) {
      end = at;
    }
  }
  const last = text.charCodeAt(end - 1);
  return text.slice(0, last >= 0xd800 && last < 0xdc00 ? end - 1 : end);
}

/** A text with its lines kept; a long one is cut until it is asked for. */
export function LongText(props: {
  text: string;
  trans: TranslationBundle;
  className?: string;
}): React.JSX.Element {
  const { text, trans, className = '' } = props;
  const [whole, setWhole] = React.useState(false);
  const start = React.useMemo(() => beginning(text), [text]);
  const cut = start.length < text.length;
  const shown = React.useMemo(
    () => visible((whole ? text : start).replace(/\r\n/g, '\n')),
    [text, start, whole]
  );
  return (
    <div className={`jp-LLMOps-text ${className}`}>
      <pre
        dir="auto"
        tabIndex={whole && cut ? 0 : undefined}
        aria-label={whole && cut ? trans.__('The whole text') : undefined}
        role={whole && cut ? 'region' : undefined}
      >
        {shown}
        {cut && !whole && '…'}
      </pre>
      {cut && (
        <button
          className="jp-LLMOps-more"
          aria-expanded={whole}
          onClick={() => setWhole(!whole)}
        >
          {whole
            ? trans.__('Show less')
            : trans.__('Show all (%1 characters)', number(text.length))}
        </button>
      )}
    </div>
  );
}

/** Any value: text as it is, the rest as JSON. */
export function Value(props: {
  value: unknown;
  trans: TranslationBundle;
}): React.JSX.Element {
  const { value, trans } = props;
  const text = React.useMemo(
    () => (typeof value === 'string' ? value : json(value)),
    [value]
  );
  return <LongText text={text} trans={trans} className="jp-LLMOps-value" />;
}

/** A part of what is shown, under a heading. */
export function Part(
  props: React.PropsWithChildren<{ title: string; note?: string }>
): React.JSX.Element {
  return (
    <section className="jp-LLMOps-part" aria-label={props.title}>
      <h4>
        {props.title}
        {props.note && <span className="jp-LLMOps-quiet"> {props.note}</span>}
      </h4>
      {props.children}
    </section>
  );
}
