import * as React from 'react';

import { Client, ITraceFilters, Topic } from '../api';
import { Watched } from '../watched';
import { TraceList } from './list';
import { IMemory } from './memory';

/** How often a duration that grows is drawn anew, and a time that was "5 minutes ago". */
const TICK_MS = 1000;
const SLOW_MS = 30_000;

/** The list of traces that match, which follows the store while the component is there. */
export function useList(
  watched: Watched,
  client: Client,
  memory: IMemory,
  filters: ITraceFilters
): TraceList {
  const key = JSON.stringify(filters);
  const list = React.useMemo(() => {
    const kept = memory.list;
    if (kept && JSON.stringify(kept.filters) === key) {
      kept.source = client;
      return kept;
    }
    kept?.rest();
    return new TraceList(client, JSON.parse(key) as ITraceFilters);
  }, [client, memory, key]);
  React.useSyncExternalStore(list.subscribe, () => list.revision);
  React.useEffect(() => {
    memory.list = list;
    void list.refresh();
    return () => list.rest();
  }, [memory, list]);
  React.useEffect(() => {
    const heard = (_: Watched, news: ReadonlySet<Topic>) => {
      if (news.has('traces')) {
        void list.refresh();
      }
    };
    const recovered = () => {
      if (!watched.fault && list.fault !== null) {
        void list.resume();
      }
    };
    watched.news.connect(heard);
    watched.changed.connect(recovered);
    return () => {
      watched.news.disconnect(heard);
      watched.changed.disconnect(recovered);
    };
  }, [watched, list]);
  return list;
}

/** The time, which goes on while the element is visible: each second if something runs, else slowly. */
export function useNow(
  element: React.RefObject<HTMLElement>,
  runs: boolean
): number {
  const [now, setNow] = React.useState(() => Date.now());
  React.useEffect(() => {
    const tick = () => {
      if (!document.hidden && element.current?.checkVisibility?.() !== false) {
        setNow(Date.now());
      }
    };
    tick();
    const timer = setInterval(tick, runs ? TICK_MS : SLOW_MS);
    return () => clearInterval(timer);
  }, [element, runs]);
  return now;
}
