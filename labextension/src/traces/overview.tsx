import { TranslationBundle } from '@jupyterlab/translation';
import * as React from 'react';

import { Client, ITraceFilters } from '../api';
import { IHost } from '../host';
import { useAsked } from '../shared/asked';
import { number } from '../shared/quantities';
import { Failure, Loading } from '../shared/states';
import { IAnchor, IVirtualListHandle, VirtualList } from '../shared/virtual';
import { Watched } from '../watched';
import { addToDataSet } from './actions';
import { FilterBar } from './filterbar';
import { given } from './filters';
import { useNow } from './following';
import { PAGE, TraceList } from './list';
import { useMarks } from './marks';
import { IMemory } from './memory';
import { Nothing } from './nothing';
import { Row } from './row';

/** How high a row is, about: three lines. */
const ROW = 64;

/** The list of traces with its filters. */
export function Overview(props: {
  watched: Watched;
  client: Client;
  host: IHost;
  trans: TranslationBundle;
  list: TraceList;
  memory: IMemory;
  filters: ITraceFilters;
  onFilters: (filters: ITraceFilters) => void;
  onShow: (id: string) => void;
  /** Whether one comes back to it from a trace. */
  focus: boolean;
}): React.JSX.Element {
  const { watched, client, host, trans, list, memory, filters } = props;
  const [open, setOpen] = React.useState(false);
  // Asked when the menus open, and no more often: it counts through many traces.
  const facets = useAsked(
    watched,
    [],
    async asked => (open ? asked.facets() : null),
    [open]
  );
  const notebook = useNotebook(host);
  return (
    <div className="jp-LLMOps-traces">
      <FilterBar
        trans={trans}
        filters={filters}
        onFilters={props.onFilters}
        facets={facets.body}
        notebook={notebook}
        open={open}
        onOpen={setOpen}
      />
      <Count trans={trans} list={list} filtered={given(filters).length > 0} />
      {list.fault !== null && list.count === 0 ? (
        <Failure
          trans={trans}
          fault={list.fault}
          again={() => void list.resume()}
        />
      ) : !list.ready ? (
        <Loading trans={trans} />
      ) : list.count === 0 ? (
        <Nothing
          trans={trans}
          source={client}
          filters={filters}
          onFilters={props.onFilters}
        />
      ) : (
        <Rows
          key={JSON.stringify(filters)}
          client={client}
          host={host}
          trans={trans}
          list={list}
          memory={memory}
          onShow={props.onShow}
          focus={props.focus}
        />
      )}
    </div>
  );
}

/** How many are shown, said aloud when it changes by a filter. */
function Count(props: {
  trans: TranslationBundle;
  list: TraceList;
  filtered: boolean;
}): React.JSX.Element {
  const { trans, list, filtered } = props;
  const { count, isMore, ready } = list;
  const [told, setTold] = React.useState('');
  const shown = isMore ? `${number(count)}+` : number(count);
  const text = filtered
    ? trans._n('%2 trace matches', '%2 traces match', count, shown)
    : trans._n('%2 trace', '%2 traces', count, shown);
  const latest = React.useRef('');
  latest.current = ready && count > 0 ? text : '';
  // Said when the first page has come, and not with each row that follows.
  React.useEffect(() => setTold(latest.current), [list, ready]);
  return (
    <div className="jp-LLMOps-traces-count jp-LLMOps-quiet">
      <span>{latest.current}</span>
      <span className="jp-LLMOps-unseen" role="status">
        {told}
      </span>
    </div>
  );
}

function Rows(props: {
  client: Client;
  host: IHost;
  trans: TranslationBundle;
  list: TraceList;
  memory: IMemory;
  onShow: (id: string) => void;
  focus: boolean;
}): React.JSX.Element {
  const { trans, list, memory, onShow } = props;
  const box = React.useRef<HTMLDivElement>(null);
  const rows = React.useRef<IVirtualListHandle>(null);
  const [active, setActive] = React.useState(memory.active);
  const { marked, mark, clear } = useMarks(list, memory);
  const [view, setView] = React.useState({ first: 0, end: 0 });
  const runs = isAnyOpen(list, view.first, view.end);
  const now = useNow(box, runs);
  const { fresh, onAnchor } = useFresh(list, memory);

  const activate = (key: string) => {
    memory.active = key;
    setActive(key);
  };
  const { show } = list;
  const onWindow = React.useCallback(
    (window: { first: number; end: number }) => {
      show(window.first, window.end);
      setView(window);
    },
    [show]
  );
  return (
    <div className="jp-LLMOps-traces-rows" ref={box}>
      <Selection {...props} marked={marked} onClear={clear} />
      <div className="jp-LLMOps-traces-list">
        <Fresh
          trans={trans}
          count={fresh}
          onGo={() => {
            if (list.isOutdated) {
              memory.anchor = null;
              void list.reload();
            }
            rows.current?.scrollToTop();
            rows.current?.focus();
          }}
        />
        <VirtualList
          ref={rows}
          label={trans.__('Traces, newest first')}
          count={list.count}
          total={list.isMore ? null : list.count}
          revision={list.revision}
          keyOf={list.keyOf}
          indexOf={list.indexOf}
          estimate={ROW}
          active={active}
          onActive={activate}
          onOpen={onShow}
          isMarked={key => marked.has(key)}
          onMark={mark}
          onKeyDown={event => {
            if (event.key === 'Escape' && marked.size > 0) {
              event.preventDefault();
              clear();
            }
          }}
          onWindow={onWindow}
          onAnchor={onAnchor}
          anchor={memory.anchor}
          focus={props.focus}
          row={index => {
            const key = list.keyOf(index);
            return (
              <Row
                trans={trans}
                trace={list.row(index)}
                now={now}
                marked={marked.has(key)}
                fresh={list.added.has(key)}
                onMark={mark}
              />
            );
          }}
        />
      </div>
      <End trans={trans} list={list} isNear={view.end >= list.count} />
    </div>
  );
}

/** How many rows are new above the view, and the way there; -1: more than are known. */
function Fresh(props: {
  trans: TranslationBundle;
  count: number;
  onGo: () => void;
}): React.JSX.Element | null {
  const { trans, count, onGo } = props;
  if (count === 0) {
    return null;
  }
  return (
    <button className="jp-LLMOps-button jp-LLMOps-traces-fresh" onClick={onGo}>
      <span aria-hidden="true">↑ </span>
      {count < 0
        ? trans.__('More than %1 new', number(PAGE))
        : trans._n('%2 new', '%2 new', count, number(count))}
    </button>
  );
}

/** What can be done with the rows that are marked. */
function Selection(props: {
  client: Client;
  host: IHost;
  trans: TranslationBundle;
  list: TraceList;
  marked: ReadonlySet<string>;
  onClear: () => void;
}): React.JSX.Element | null {
  const { client, host, trans, list, marked, onClear } = props;
  if (marked.size === 0) {
    return null;
  }
  const add = async () => {
    const ids = [...marked].sort((a, b) => list.indexOf(a) - list.indexOf(b));
    if (await addToDataSet(client, host, trans, ids)) {
      onClear();
    }
  };
  return (
    <div
      className="jp-LLMOps-traces-selection"
      role="group"
      aria-label={trans.__('Selected traces')}
    >
      <span role="status">
        {trans._n(
          '%2 selected',
          '%2 selected',
          marked.size,
          number(marked.size)
        )}
      </span>
      <button className="jp-LLMOps-button" onClick={() => void add()}>
        {trans.__('Add to data set…')}
      </button>
      <button className="jp-LLMOps-button" onClick={onClear}>
        {trans.__('Clear')}
      </button>
    </div>
  );
}

/** Below the list: that more is coming, or why it is not. */
function End(props: {
  trans: TranslationBundle;
  list: TraceList;
  /** Whether the last row is in view. */
  isNear: boolean;
}): React.JSX.Element | null {
  const { trans, list, isNear } = props;
  if (list.fault !== null) {
    return (
      <Failure
        trans={trans}
        fault={list.fault}
        again={() => void list.resume()}
      />
    );
  }
  return list.isBusy && isNear ? (
    <div className="jp-LLMOps-traces-end jp-LLMOps-quiet">
      {trans.__('Loading…')}
    </div>
  ) : null;
}

/** How many rows are new above what is in view: 0 at the top, -1 if they cannot be counted. */
function useFresh(
  list: TraceList,
  memory: IMemory
): { fresh: number; onAnchor: (anchor: IAnchor | null) => void } {
  const [top, setTop] = React.useState(memory.anchor === null);
  const onAnchor = React.useCallback(
    (anchor: IAnchor | null) => {
      memory.anchor = anchor;
      setTop(anchor === null);
    },
    [memory]
  );
  const { revision, isOutdated } = list;
  React.useEffect(() => {
    if (top) {
      memory.seen = list.count > 0 ? list.keyOf(0) : null;
      if (isOutdated) {
        void list.reload();
      }
    }
  }, [list, memory, revision, top, isOutdated]);
  const seen = memory.seen === null ? 0 : list.indexOf(memory.seen);
  return { fresh: top ? 0 : isOutdated ? -1 : Math.max(0, seen), onAnchor };
}

/** The notebook in front: it is looked up when the focus moves, since only then it can be another one. */
function useNotebook(host: IHost): string | null {
  const [notebook, setNotebook] = React.useState(() => host.notebook());
  React.useEffect(() => {
    const update = () => setNotebook(host.notebook());
    update();
    document.addEventListener('focusin', update);
    return () => document.removeEventListener('focusin', update);
  }, [host]);
  return notebook;
}

function isAnyOpen(list: TraceList, first: number, end: number): boolean {
  for (let index = first; index < Math.min(end, list.count); index++) {
    if (list.row(index)?.status === 'open') {
      return true;
    }
  }
  return false;
}
