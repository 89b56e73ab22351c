import * as React from 'react';

import { IPage, IRunSummary } from '../api';
import { useAsked, useClient } from '../shared/asked';
import { words } from '../shared/states';
import { ISectionProps } from '../panel/sections';

/** The runs that were fetched so far, newest first. */
export interface IKnownRuns {
  runs: readonly IRunSummary[] | null;
  fault: unknown;
  again: () => void;
  /** Fetch older ones; null where there are none, or they are on their way. */
  more: (() => void) | null;
  /** Why older ones could not be fetched. */
  trouble: string | null;
}

/** The newest page, asked again when there is news, and the older pages that were asked for. */
export function useKnownRuns(
  props: Pick<ISectionProps, 'watched' | 'trans'>
): IKnownRuns {
  const { watched, trans } = props;
  const client = useClient(watched);
  const { body, fault, again } = useAsked(watched, ['evaluations'], asked =>
    asked.evaluations()
  );
  const [pages, setPages] = React.useState<IPage<IRunSummary>[]>([]);
  const [busy, setBusy] = React.useState(false);
  const [trouble, setTrouble] = React.useState<string | null>(null);
  // A run that slid off the newest page since is kept: no page has it otherwise.
  const seen = React.useRef(new Map<string, IRunSummary>());
  const runs = React.useMemo(() => {
    if (body === null) {
      return null;
    }
    for (const page of [...pages, body]) {
      for (const run of page.items) {
        seen.current.set(run.id, run);
      }
    }
    return [...seen.current.values()].sort(newestFirst);
  }, [body, pages]);
  const next = pages.length ? pages[pages.length - 1].next : body?.next;

  const more = async (cursor: string) => {
    if (client === null) {
      return;
    }
    setBusy(true);
    setTrouble(null);
    try {
      const page = await client.evaluations(cursor);
      setPages(old => [...old, page]);
    } catch (thrown) {
      setTrouble(words(trans, thrown));
    } finally {
      setBusy(false);
    }
  };
  return {
    runs,
    fault,
    again,
    more: next && !busy ? () => void more(next) : null,
    trouble
  };
}

function newestFirst(a: IRunSummary, b: IRunSummary): number {
  return (
    b.started_at.localeCompare(a.started_at) ||
    b.id.localeCompare(a.id, undefined, { numeric: true })
  );
}
