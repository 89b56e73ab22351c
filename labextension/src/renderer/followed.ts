import * as React from 'react';

import { Client, ITrace, Topic } from '../api';
import { useClient } from '../shared/asked';
import { Watched } from '../watched';

/** A trace that has ended can still be scored; it is asked for again no more often than this. */
const SETTLED_MS = 5000;

const NOTHING = { trace: null, fault: null };

export interface IFollowed {
  trace: ITrace | null;
  fault: unknown;
  again: () => void;
}

/**
 * A trace, asked for again when there is news of traces: at once while it goes on, and now and then after that.
 *
 * `workspace` is that of the trace, '' for the one that is shown.
 */
export function useTrace(
  watched: Watched,
  workspace: string,
  traceId: string
): IFollowed {
  const shown = useClient(watched);
  const client = React.useMemo(
    () => (workspace ? new Client(watched.settings, workspace) : shown),
    [watched, workspace, shown]
  );
  const [state, setState] = React.useState<Omit<IFollowed, 'again'>>(NOTHING);
  const [, redraw] = React.useReducer((n: number) => n + 1, 0);
  React.useEffect(() => {
    watched.changed.connect(redraw);
    return () => {
      watched.changed.disconnect(redraw);
    };
  }, [watched]);
  const asking = React.useRef({ turn: 0, at: 0, later: 0, settled: false });

  const ask = React.useCallback(async () => {
    if (client === null) {
      return;
    }
    const mine = (asking.current.turn += 1);
    asking.current.at = Date.now();
    try {
      const trace = await client.trace(traceId);
      if (mine === asking.current.turn) {
        asking.current.settled = trace.spans.every(s => s.status !== 'open');
        setState({ trace, fault: null });
      }
    } catch (fault) {
      if (mine === asking.current.turn) {
        setState(old => ({ ...old, fault }));
      }
    }
  }, [client, traceId]);

  React.useEffect(() => {
    const now = asking.current;
    now.settled = false;
    setState(NOTHING); // another trace than before
    void ask();
    const heard = (_: Watched, news: ReadonlySet<Topic>) => {
      if (!news.has('traces') || now.later) {
        return;
      }
      const wait = now.settled ? now.at + SETTLED_MS - Date.now() : 0;
      now.later = window.setTimeout(
        () => {
          now.later = 0;
          void ask();
        },
        Math.max(0, wait)
      );
    };
    watched.news.connect(heard);
    return () => {
      watched.news.disconnect(heard);
      window.clearTimeout(now.later);
      now.later = 0;
      now.turn += 1;
    };
  }, [watched, ask]);

  return {
    trace: state.trace,
    fault: client ? state.fault : watched.fault,
    again: () => void (client ? ask() : watched.refresh())
  };
}
