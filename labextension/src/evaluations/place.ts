import { IRunSummary } from '../api';
import { own } from '../shared/own';

/** The two runs that are compared, and by what; '' where nothing was chosen. */
export interface IPair {
  a: string;
  b: string;
  metric: string;
}

/** The pair that `12..15` or `12..15:exact` means; null for the list of runs. */
export function pairOf(item: string): IPair | null {
  const found = /^([^.:]+)\.\.([^.:]+)(?::(.*))?$/s.exec(item);
  return found ? { a: found[1], b: found[2], metric: found[3] ?? '' } : null;
}

export function itemOf({ a, b, metric }: IPair): string {
  return `${a}..${b}${metric && `:${metric}`}`;
}

/** Metrics that both runs have, in the order of the second. */
export function shared(
  a: IRunSummary | undefined,
  b: IRunSummary | undefined
): string[] {
  return a && b
    ? Object.keys(b.metrics).filter(name => own(a.metrics, name) !== undefined)
    : [];
}

/**
 * The two runs that somebody most likely wants to compare: the newest finished one as B and, as A, the newest
 * before it on the same data with a metric in common.
 */
export function likely(runs: readonly IRunSummary[]): { a: string; b: string } {
  const done = runs.filter(run => run.finished);
  for (const [at, b] of done.entries()) {
    const a = done
      .slice(at + 1)
      .find(run => run.data === b.data && shared(run, b).length > 0);
    if (a) {
      return { a: a.id, b: b.id };
    }
  }
  return { a: '', b: done[0]?.id ?? '' };
}
