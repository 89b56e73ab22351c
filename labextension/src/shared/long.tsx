import { TranslationBundle } from '@jupyterlab/translation';
import * as React from 'react';

import { Toggle } from './plain';
import { number } from './quantities';
import { visible } from './visible';

/** How many characters of a text are shown at first: so many lines and characters, no half of one. */
export function cutAt(text: string, lines: number, characters: number): number {
  let end = Math.min(text.length, characters);
  for (let line = 1, at = -1; line <= lines; line += 1) {
    at = text.indexOf('\n', at + 1);
    if (at === -1 || at >= end) {
      break;
    }
    if (line === lines) {
      end = at;
    }
  }
  const isHalf = end < text.length && /[\ud800-\udbff]$/.test(text[end - 1]);
  return isHalf ? end - 1 : end;
}

/**
 * A text of the store with its lines, cut where it is long, with a button that shows it whole. `code` has it in the font
 * of code, `draw` marks up what is shown.
 */
export function LongText(props: {
  trans: TranslationBundle;
  text: string;
  lines?: number;
  characters?: number;
  code?: boolean;
  className?: string;
  draw?: (text: string) => React.ReactNode;
}): React.JSX.Element {
  const { trans, lines = 24, characters = 1500, code, draw = visible } = props;
  const text = React.useMemo(
    () => props.text.replace(/\r\n/g, '\n'),
    [props.text]
  );
  const [whole, setWhole] = React.useState(false);
  const length = React.useMemo(
    () => cutAt(text, lines, characters),
    [text, lines, characters]
  );
  const isLong = text.slice(length).trim() !== '';
  const isCut = isLong && !whole;
  const names = ['jp-LLMOps-text', code && 'jp-LLMOps-code', props.className];
  // A whole long text is scrolled within, with the keyboard too.
  const scrolled =
    isLong && whole
      ? {
          ...{ role: 'group', tabIndex: 0 },
          'aria-label': trans.__('The whole text')
        }
      : {};
  return (
    <div className={names.filter(Boolean).join(' ')}>
      <pre dir="auto" {...scrolled}>
        {draw(isCut ? text.slice(0, length) : text)}
        {isCut && '…'}
      </pre>
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
