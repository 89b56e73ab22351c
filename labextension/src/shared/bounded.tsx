import { TranslationBundle } from '@jupyterlab/translation';
import * as React from 'react';

import { number } from './quantities';

/** A list of which only so many are made at first; a button makes more. Long ones stay quick. */
export function Bounded<T>(props: {
  trans: TranslationBundle;
  items: readonly T[];
  id: (item: T) => string;
  render: (item: T) => React.ReactNode;
  label: string;
  first?: number;
  className?: string;
}): React.JSX.Element {
  const { trans, items, id, render, label, first = 30 } = props;
  const [shown, setShown] = React.useState(first);
  const more = Math.min(items.length - shown, 100);
  return (
    <>
      <ul className={props.className ?? 'jp-LLMOps-list'} aria-label={label}>
        {items.slice(0, shown).map(item => (
          <li key={id(item)}>{render(item)}</li>
        ))}
      </ul>
      {more > 0 && (
        <button
          className="jp-LLMOps-button jp-LLMOps-further"
          onClick={() => setShown(shown + more)}
        >
          {trans.__(
            'Show %1 more of %2',
            number(more),
            number(items.length - shown)
          )}
        </button>
      )}
    </>
  );
}
