import * as React from 'react';

import { Client, IHits } from '../api';

/** How long nothing is typed before it is searched for. */
export const PAUSE_MS = 250;
export const FIRST = 10;
export const MOST = 100;

/** What a search has come to. `hits` stay while another one is made. */
export interface ISearch {
  hits: IHits | null;
  fault: unknown;
  busy: boolean;
  again: () => void;
}

/**
 * Search an index for what is typed, once the typing pauses.
 *
 * A search that is no longer wanted is aborted, and its answer is dropped should it come all the same.
 */
export function useSearch(
  client: Client | null,
  index: string,
  query: string,
  k: number
): ISearch {
  const [state, setState] = React.useState<Omit<ISearch, 'again'>>({
    hits: null,
    fault: null,
    busy: false
  });
  const [turn, again] = React.useReducer((n: number) => n + 1, 0);
  const q = query.trim();
  React.useEffect(() => {
    if (client === null || q === '') {
      setState({ hits: null, fault: null, busy: false });
      return;
    }
    const abort = new AbortController();
    const search = async () => {
      try {
        const hits = await client.search(index, q, k, abort.signal);
        if (!abort.signal.aborted) {
          setState({ hits, fault: null, busy: false });
        }
      } catch (fault) {
        if (!abort.signal.aborted) {
          setState(old => ({ ...old, fault, busy: false }));
        }
      }
    };
    setState(old => ({ ...old, busy: true }));
    const timer = setTimeout(() => void search(), PAUSE_MS);
    return () => {
      clearTimeout(timer);
      abort.abort();
    };
  }, [client, index, q, k, turn]);
  return { ...state, again };
}
