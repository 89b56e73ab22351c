import { TranslationBundle } from '@jupyterlab/translation';
import * as React from 'react';

import { number } from './quantities';

/** The first of many items, and more of them each time somebody asks. Long lists stay quick so. */
export interface IFirst<T> {
  shown: readonly T[];
  /** How many come next, and how many are not shown in all. */
  next: number;
  left: number;
  more: () => void;
}

export function useFirst<T>(
  items: readonly T[],
  first: number,
  step: number
): IFirst<T> {
  const [count, setCount] = React.useState(first);
  const left = Math.max(0, items.length - count);
  const next = Math.min(step, left);
  return {
    shown: items.slice(0, count),
    next,
    left,
    more: () => setCount(count + next)
  };
}

/** The button that shows more; nothing where all is shown. */
export function Further(props: {
  trans: TranslationBundle;
  of: IFirst<unknown>;
}): React.JSX.Element | null {
  const { trans, of } = props;
  return of.next > 0 ? (
    <button
      className="jp-LLMOps-button jp-LLMOps-further"
      onClick={() => of.more()}
    >
      {trans.__('Show %1 more of %2', number(of.next), number(of.left))}
    </button>
  ) : null;
}

/** A list of which only so many are made at first. */
export function Bounded<T>(props: {
  trans: TranslationBundle;
  items: readonly T[];
  id: (item: T) => string;
  render: (item: T) => React.ReactNode;
  label: string;
  first?: number;
}): React.JSX.Element {
  const { trans, items, id, render, label, first = 30 } = props;
  const some = useFirst(items, first, 100);
  return (
    <>
      <ul className="jp-LLMOps-list" aria-label={label}>
        {some.shown.map(item => (
          <li key={id(item)}>{render(item)}</li>
        ))}
      </ul>
      <Further trans={trans} of={some} />
    </>
  );
}
