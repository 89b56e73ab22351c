import { TranslationBundle } from '@jupyterlab/translation';
import * as React from 'react';

import { number } from './quantities';
import { beginning, visible } from './visible';

/** The beginning of a text by lines and characters. */
function cut(text: string, lines: number, characters: number): string {
  let end = -1;
  for (let line = 0; line < lines; line += 1) {
    end = text.indexOf('\n', end + 1);
    if (end === -1) {
      return beginning(text, characters);
    }
  }
  return beginning(text.slice(0, end), characters);
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
  const short = cut(text, lines, characters);
  const isLong = short.length < text.trimEnd().length;
  return (
    <>
      <pre
        className={`jp-LLMOps-code ${props.className ?? ''}`.trimEnd()}
        dir="auto"
      >
        {draw(whole ? text : short)}
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
