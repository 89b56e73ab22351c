import * as React from 'react';

import { Client, Topic } from '../api';
import { Watched } from '../watched';

/** What a component has of something it asked the server for. `body` stays while it is asked again. */
export interface IAsked<T> {
  body: T | null;
  fault: unknown;
  busy: boolean;
  again: () => void;
}

/** The workspace's client, kept up to date. */
export function useClient(watched: Watched): Client | null {
  const [client, setClient] = React.useState(watched.client);
  React.useEffect(() => {
    const update = () => setClient(watched.client);
    update();
    watched.changed.connect(update);
    return () => {
      watched.changed.disconnect(update);
    };
  }, [watched]);
  return client;
}

/**
 * Ask the server, and again whenever one of `topics` may have changed, `keys` differ, or another workspace is shown.
 *
 * An answer that comes after a later question was put is dropped. `question` need not be stable; `keys` say when it
 * is another one.
 */
export function useAsked<T>(
  watched: Watched,
  topics: readonly Topic[],
  question: (client: Client) => Promise<T>,
  keys: readonly unknown[] = []
): IAsked<T> {
  const client = useClient(watched);
  const [state, setState] = React.useState<Omit<IAsked<T>, 'again'>>({
    body: null,
    fault: null,
    busy: true
  });
  const latest = React.useRef(question);
  latest.current = question;
  const turn = React.useRef(0);
  const key = JSON.stringify(keys);
  const named = topics.join(' ');

  const again = React.useCallback(async () => {
    if (client === null) {
      return;
    }
    turn.current += 1;
    const mine = turn.current;
    setState(old => ({ ...old, busy: true }));
    try {
      const body = await latest.current(client);
      if (mine === turn.current) {
        setState({ body, fault: null, busy: false });
      }
    } catch (fault) {
      if (mine === turn.current) {
        setState(old => ({ ...old, fault, busy: false }));
      }
    }
  }, [client]);

  React.useEffect(() => {
    setState({ body: null, fault: null, busy: true });
    void again();
    return () => {
      turn.current += 1;
    };
  }, [again, key]);

  React.useEffect(() => {
    const heard = (_: Watched, news: ReadonlySet<Topic>) => {
      if (named.split(' ').some(topic => news.has(topic as Topic))) {
        void again();
      }
    };
    watched.news.connect(heard);
    return () => {
      watched.news.disconnect(heard);
    };
  }, [watched, again, named]);

  return { ...state, again: () => void again() };
}
