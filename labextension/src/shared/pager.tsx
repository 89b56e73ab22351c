import { TranslationBundle } from '@jupyterlab/translation';
import * as React from 'react';

import { number } from './quantities';

/** A part of a list of which only so many rows are in the page at once. */
export interface IPaged<T> {
  rows: readonly T[];
  /** Index of the first row in the whole list. */
  from: number;
  count: number;
  page: number;
  pages: number;
  show: (page: number) => void;
}

/** Cut a list into pages. `keys` say when it is another list, which begins at its first page; `start` is that of now. */
export function usePages<T>(
  items: readonly T[],
  size: number,
  keys: readonly unknown[] = [],
  start = 0
): IPaged<T> {
  const key = JSON.stringify(keys);
  const [place, setPlace] = React.useState({ key, page: start });
  const pages = Math.max(1, Math.ceil(items.length / size));
  const page = place.key === key ? Math.min(place.page, pages - 1) : 0;
  const from = page * size;
  const show = React.useCallback(
    (wanted: number) => setPlace({ key, page: wanted }),
    [key]
  );
  return {
    rows: items.slice(from, from + size),
    from,
    count: items.length,
    page,
    pages,
    show
  };
}

/**
 * Buttons for the page before and after, and which rows are shown; nothing where all are.
 *
 * `more` fetches what follows the last page, where the server has more; it is shown when it is there.
 */
export function Pager(props: {
  trans: TranslationBundle;
  paged: IPaged<unknown>;
  label: string;
  more?: (() => void) | null;
}): React.JSX.Element | null {
  const { trans, paged, label, more } = props;
  const { page, pages, from, rows, count, show } = paged;
  if (pages < 2 && !more) {
    return null;
  }
  const last = page === pages - 1;
  return (
    <nav className="jp-LLMOps-pager" aria-label={label}>
      <button
        className="jp-LLMOps-button"
        disabled={page === 0}
        aria-label={trans.__('Previous page')}
        title={trans.__('Previous page')}
        onClick={() => show(page - 1)}
      >
        ‹
      </button>
      <span role="status">
        {trans.__(
          '%1 to %2 of %3',
          number(from + 1),
          number(from + rows.length),
          more ? `${number(count)}+` : number(count)
        )}
      </span>
      <button
        className="jp-LLMOps-button"
        disabled={last && !more}
        aria-label={trans.__('Next page')}
        title={trans.__('Next page')}
        onClick={() => {
          if (last) {
            more?.();
          }
          show(page + 1);
        }}
      >
        ›
      </button>
    </nav>
  );
}
