import * as React from 'react';

import { Client, ITraceFilters } from '../api';
import { ISectionProps } from '../panel/sections';
import { useClient } from '../shared/asked';
import { filtersOf } from '../shared/place';
import { Loading } from '../shared/states';
import { Detail } from './detail';
import { useList } from './following';
import { memoryOf } from './memory';
import { Overview } from './overview';

/** What the notebooks did: a list of traces, and one of them with its spans. */
export default function Section(props: ISectionProps): React.JSX.Element {
  const client = useClient(props.watched);
  return client ? (
    <Traces key={client.workspace} {...props} client={client} />
  ) : (
    <Loading trans={props.trans} />
  );
}

function Traces(props: ISectionProps & { client: Client }): React.JSX.Element {
  const { watched, client, host, trans, item, go } = props;
  const memory = memoryOf(client.workspace);
  const [filters, setFilters] = React.useState(memory.filters);
  const list = useList(watched, client, memory, filters);
  const onFilters = (now: ITraceFilters) => {
    memory.filters = now;
    memory.anchor = null;
    memory.seen = null;
    memory.marked = new Set();
    setFilters(now);
  };
  // Another section may lead to traces of some kind: its filters take the place of ours, and the list is shown.
  const place = React.useMemo(() => filtersOf(item), [item]);
  const arrive = React.useRef<(now: ITraceFilters) => void>(onFilters);
  arrive.current = now => {
    onFilters(now);
    go('traces');
  };
  React.useEffect(() => {
    if (place) {
      arrive.current(place);
    }
  }, [place]);
  const came = React.useRef(false);
  came.current ||= item !== '';
  const show = (id: string) => {
    memory.active = id || memory.active;
    go('traces', id);
  };
  return item && !place ? (
    <Detail
      watched={watched}
      client={client}
      host={host}
      trans={trans}
      list={list}
      id={item}
      onShow={show}
    />
  ) : (
    <Overview
      watched={watched}
      client={client}
      host={host}
      trans={trans}
      list={list}
      memory={memory}
      filters={filters}
      onFilters={onFilters}
      onShow={show}
      focus={came.current}
    />
  );
}
