import { TranslationBundle } from '@jupyterlab/translation';
import * as React from 'react';

import { number } from './quantities';
import { visible } from './visible';

/** How many characters of a text are shown at first: so many lines and characters, no half of one. */
function shortened(text: string, lines: number, characters: number): number {
  let end = -1;
  for (let line = 0; line < lines; line += 1) {
    end = text.indexOf('\n', end + 1);
    if (end === -1) {
      end = text.length;
      break;
    }
  }
  const length = Math.min(end, characters);
  const isHalf =
    length < text.length && /[\ud800-\udbff]/.test(text[length - 1] ?? '');
  return isHalf ? length - 1 : length;
}

/** A text of the store, cut where it is long, with a button that shows it whole. `draw` marks up what is shown. */
export function LongText(props: {
  trans: TranslationBundle;
  text: string;
  lines?: number;
  characters?: number;
  className?: string;
  draw?: (text: string) => React.ReactNode;
}): React.JSX.Element {
  const { trans, text, lines = 12, characters = 2000, draw = visible } = props;
  const [whole, setWhole] = React.useState(false);
  const length = shortened(text, lines, characters);
  const isLong = text.slice(length).trim() !== '';
  const isCut = isLong && !whole;
  return (
    <>
      <pre
        className={`jp-LLMOps-code ${props.className ?? ''}`.trimEnd()}
        dir="auto"
      >
        {draw(isCut ? text.slice(0, length) : text)}
        {isCut && '…'}
      </pre>
      {isLong && (
        <button
          className="jp-LLMOps-link"
          aria-expanded={whole}
          onClick={() => setWhole(!whole)}
        >
          {whole
            ? trans.__('Show less')
            : trans.__('Show all %1 characters', number(text.length))}
        </button>
      )}
    </>
  );
}
