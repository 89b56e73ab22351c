import { TranslationBundle } from '@jupyterlab/translation';

import { Client, ISpan, ITrace } from '../api';
import { IHost } from '../host';
import { insert, tried } from '../shared/errands';
import { number } from '../shared/quantities';
import { replayOf } from './replay';

/** The span in which everything else happened. */
export function rootOf(trace: ITrace): ISpan | undefined {
  return (
    trace.spans.find(span => span.parent_id === null) ??
    (trace.spans[0] as ISpan | undefined)
  );
}

/** What came out at the end. */
export function answerOf(trace: ITrace): string {
  return (rootOf(trace)?.output ?? [])
    .map(message => message.content)
    .join('\n');
}

/** Ask for a data set and add traces to it; whether it was done. */
export async function addToDataSet(
  client: Pick<Client, 'datasets' | 'collect'>,
  host: IHost,
  trans: TranslationBundle,
  traces: string[]
): Promise<boolean> {
  const made = await tried(host, trans, async () => {
    const known = (await client.datasets()).items.map(one => one.name);
    const name = await host.askText(
      trans._n(
        'Add %2 trace to a data set',
        'Add %2 traces to a data set',
        traces.length,
        number(traces.length)
      ),
      trans.__('Data set: one that is there, or a new name'),
      known
    );
    return name === null ? null : client.collect(name, traces);
  });
  if (made === null) {
    return false;
  }
  const twice = traces.length - made.added;
  const text = trans._n(
    '%2: %3 row added, %4 in all.',
    '%2: %3 rows added, %4 in all.',
    made.added,
    `${made.name}@${made.version}`,
    number(made.added),
    number(made.rows)
  );
  host.notify(
    twice > 0
      ? `${text} ${trans.__('%1 were there already.', number(twice))}`
      : text,
    'success'
  );
  return true;
}

/** Put a cell into the notebook that makes the same call again. */
export async function replay(
  host: IHost,
  trans: TranslationBundle,
  trace: ITrace
): Promise<void> {
  const { cell, missing } = replayOf(trace, trans);
  if (cell === null) {
    host.notify(missing.join(' '), 'error');
    return;
  }
  const put = await insert(host, trans, cell);
  if (put && missing.length > 0) {
    host.notify(
      trans.__('The cell is not the whole of it: %1', missing.join(' ')),
      'info'
    );
  }
}
