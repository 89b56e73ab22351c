import { TranslationBundle } from '@jupyterlab/translation';
import * as React from 'react';

import { ITraceFilters } from '../api';
import { Empty } from '../shared/states';
import {
  FilterName,
  changed,
  culprits,
  given,
  shownValue,
  titled
} from './filters';
import { Source } from './list';

/** What stands where no trace matches: which filter keeps them away, or how to make a first one. */
export function Nothing(props: {
  trans: TranslationBundle;
  source: Source;
  filters: ITraceFilters;
  onFilters: (filters: ITraceFilters) => void;
}): React.JSX.Element {
  const { trans, source, filters, onFilters } = props;
  const to = useCulprits(source, filters);
  const set = given(filters);
  if (set.length === 0) {
    return (
      <Empty
        text={trans.__(
          'No traces yet. Run a prompt in a notebook, and it appears here:'
        )}
        advice={'%%prompt\nTell me a joke.'}
      />
    );
  }
  const drop = to?.length ? to : set.map(([name]) => name);
  return (
    <div className="jp-LLMOps-empty" role="status">
      <p>{trans.__('No trace matches.')}</p>
      <p>
        {to === null
          ? trans.__('Looking which filter keeps them away…')
          : to.length
            ? trans.__('Without one of these there would be some:')
            : trans.__(
                'No single filter keeps them away: more than one has to go.'
              )}
      </p>
      {to !== null &&
        drop.map(name => (
          <button
            key={name}
            className="jp-LLMOps-button"
            onClick={() => onFilters(changed(filters, name, ''))}
          >
            {trans.__(
              'Drop %1',
              `${titled(trans, name)}: ${shownValue(trans, name, filters[name] ?? '')}`
            )}
          </button>
        ))}
      {set.length > 1 && (
        <button className="jp-LLMOps-button" onClick={() => onFilters({})}>
          {trans.__('Drop all')}
        </button>
      )}
    </div>
  );
}

/** The filters that keep all traces away; null while this is looked up, none where it cannot be told. */
function useCulprits(
  source: Source,
  filters: ITraceFilters
): FilterName[] | null {
  const [found, setFound] = React.useState<FilterName[] | null>(null);
  const key = JSON.stringify(filters);
  React.useEffect(() => {
    const wanted = JSON.parse(key) as ITraceFilters;
    if (given(wanted).length === 0) {
      return;
    }
    const control = new AbortController();
    setFound(null);
    culprits(source, wanted, control.signal).then(
      names => !control.signal.aborted && setFound(names),
      () => !control.signal.aborted && setFound([])
    );
    return () => control.abort();
  }, [source, key]);
  return found;
}
