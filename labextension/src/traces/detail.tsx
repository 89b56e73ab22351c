import { TranslationBundle } from '@jupyterlab/translation';
import * as React from 'react';

import { Client, ITrace } from '../api';
import { IHost } from '../host';
import { useTrace } from '../renderer/followed';
import { TraceView } from '../renderer/view';
import { copy, openCell } from '../shared/errands';
import { ago, seconds, when } from '../shared/quantities';
import { StatusBadge } from '../shared/standing';
import { Failure, Loading } from '../shared/states';
import { beginning, visible } from '../shared/visible';
import { Watched } from '../watched';
import { addToDataSet, answerOf, replay, rootOf } from './actions';
import { Annotations, useAnnotations } from './annotations';
import { isTyped } from './annotation';
import { useNow } from './following';
import { TraceList } from './list';
import { taken } from './row';

/** Characters of a name, which may be as long as a text, in the heading, and where one points at it. */
const NAME_MOST = 120;
const TITLE_MOST = 1000;

interface IDetailProps {
  watched: Watched;
  client: Client;
  host: IHost;
  trans: TranslationBundle;
  list: TraceList;
  id: string;
  /** Show another trace; '' for the list. */
  onShow: (id: string) => void;
}

/** One trace: what happened, how it is judged, and what can be done with it. */
export function Detail(props: IDetailProps): React.JSX.Element {
  const { watched, client, host, trans, list, id, onShow } = props;
  const box = React.useRef<HTMLDivElement>(null);
  const { trace, fault, again } = useTrace(watched, '', id);
  const { previous, next } = useNeighbours(list, id);
  const annotate = useAnnotations(client, host, trans, trace, again);
  React.useEffect(() => box.current?.focus({ preventScroll: true }), [id]);

  const onKeyDown = (event: React.KeyboardEvent) => {
    if (isTyped(event)) {
      return;
    }
    const action = new Map([
      ['j', next ? () => onShow(next) : undefined],
      ['k', previous ? () => onShow(previous) : undefined],
      ['Escape', () => onShow('')],
      ['+', annotate?.up],
      ['-', annotate?.down],
      ['n', annotate?.note],
      ['u', annotate?.undo]
    ]).get(event.key);
    if (action) {
      event.preventDefault();
      event.stopPropagation();
      action();
    }
  };
  return (
    <div
      ref={box}
      className="jp-LLMOps-detail"
      role="region"
      aria-label={trans.__('Trace')}
      tabIndex={-1}
      onKeyDown={onKeyDown}
    >
      <Bar trans={trans} previous={previous} next={next} onShow={onShow} />
      {fault !== null && <Failure trans={trans} fault={fault} again={again} />}
      {!trace && fault === null && <Loading trans={trans} />}
      {trace && (
        <>
          <Heading trans={trans} trace={trace} />
          <Actions client={client} host={host} trans={trans} trace={trace} />
          <Annotations trans={trans} trace={trace} annotate={annotate} />
          <TraceView
            trace={trace}
            trans={trans}
            compact
            onOpenCell={(notebook, cell) =>
              void openCell(host, trans, notebook, cell)
            }
          />
        </>
      )}
    </div>
  );
}

/** Back to the list, and on to the traces beside this one; '' where there is none. */
function Bar(props: {
  trans: TranslationBundle;
  previous: string;
  next: string;
  onShow: (id: string) => void;
}): React.JSX.Element {
  const { trans, previous, next, onShow } = props;
  return (
    <div className="jp-LLMOps-detail-line">
      <button className="jp-LLMOps-button" onClick={() => onShow('')}>
        <span aria-hidden="true">← </span>
        {trans.__('All traces')}
      </button>
      <span className="jp-LLMOps-detail-gap" />
      <button
        className="jp-LLMOps-button"
        aria-label={trans.__('Previous trace')}
        title={trans.__('Previous trace (k)')}
        disabled={!previous}
        onClick={() => previous && onShow(previous)}
      >
        <span aria-hidden="true">↑</span>
      </button>
      <button
        className="jp-LLMOps-button"
        aria-label={trans.__('Next trace')}
        title={trans.__('Next trace (j)')}
        disabled={!next}
        onClick={() => next && onShow(next)}
      >
        <span aria-hidden="true">↓</span>
      </button>
    </div>
  );
}

/** The traces before and after one in the list, as far as it is known. */
function useNeighbours(
  list: TraceList,
  id: string
): { previous: string; next: string } {
  const at = list.indexOf(id);
  const { isMore, count } = list;
  React.useEffect(() => {
    if (at >= 0 && at === count - 1 && isMore) {
      void list.more();
    }
  }, [list, at, count, isMore]);
  return {
    previous: at > 0 ? list.keyOf(at - 1) : '',
    next: at >= 0 && at < count - 1 ? list.keyOf(at + 1) : ''
  };
}

function Heading(props: {
  trans: TranslationBundle;
  trace: ITrace;
}): React.JSX.Element {
  const { trans, trace } = props;
  const line = React.useRef<HTMLDivElement>(null);
  const root = rootOf(trace);
  const name = visible(root?.prompt || root?.name || trace.trace_id);
  const now = useNow(line, trace.status === 'open');
  const took = taken(
    {
      status: trace.status,
      started_at: trace.started_at,
      duration_s: root?.duration_s ?? null
    },
    now
  );
  return (
    <div ref={line}>
      <h3 className="jp-LLMOps-detail-title">
        <bdi title={beginning(name, TITLE_MOST)}>
          {beginning(name, NAME_MOST)}
        </bdi>
      </h3>
      <div className="jp-LLMOps-detail-line jp-LLMOps-quiet">
        <StatusBadge trans={trans} status={trace.status} />
        <span className="jp-LLMOps-number" role="timer" aria-live="off">
          {seconds(took)}
        </span>
        <time dateTime={trace.started_at} title={when(trace.started_at)}>
          {ago(trace.started_at, Math.max(now, Date.parse(trace.started_at)))}
        </time>
      </div>
      {trace.status === 'interrupted' && (
        <p className="jp-LLMOps-quiet">
          {trans.__(
            'Interrupted: it was stopped, or its kernel ended. What had come by then is shown.'
          )}
        </p>
      )}
    </div>
  );
}

function Actions(props: {
  client: Client;
  host: IHost;
  trans: TranslationBundle;
  trace: ITrace;
}): React.JSX.Element {
  const { client, host, trans, trace } = props;
  const { notebook, cell_id: cell } = trace;
  const answer = answerOf(trace);
  return (
    <div
      className="jp-LLMOps-detail-line"
      role="group"
      aria-label={trans.__('What can be done with this trace')}
    >
      <button
        className="jp-LLMOps-button"
        disabled={!notebook || !cell}
        title={
          notebook && cell
            ? trans.__('Go to the cell in %1', visible(notebook))
            : trans.__('It was not made by a cell of a notebook.')
        }
        onClick={() =>
          notebook && cell && void openCell(host, trans, notebook, cell)
        }
      >
        {trans.__('Cell')}
      </button>
      <button
        className="jp-LLMOps-button"
        title={trans.__('Show it in the main area')}
        onClick={() => host.openTrace(trace.trace_id)}
      >
        {trans.__('Open')}
      </button>
      <button
        className="jp-LLMOps-button"
        title={trans.__(
          'Put a cell that makes the same call below the active one'
        )}
        onClick={() => void replay(host, trans, trace)}
      >
        {trans.__('Replay')}
      </button>
      <button
        className="jp-LLMOps-button"
        onClick={() => void copy(host, trans, trace.trace_id)}
      >
        {trans.__('Copy id')}
      </button>
      <button
        className="jp-LLMOps-button"
        onClick={() => void addToDataSet(client, host, trans, [trace.trace_id])}
      >
        {trans.__('Add to data set…')}
      </button>
      <button
        className="jp-LLMOps-button"
        disabled={answer === ''}
        onClick={() => void copy(host, trans, answer)}
      >
        {trans.__('Copy answer')}
      </button>
    </div>
  );
}
