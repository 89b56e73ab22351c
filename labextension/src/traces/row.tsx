import { TranslationBundle } from '@jupyterlab/translation';
import * as React from 'react';

import { ITraceSummary } from '../api';
import { fileName } from '../notebooks/place';
import { ago, number, seconds, when } from '../shared/quantities';
import { StatusBadge } from '../shared/standing';
import { beginning, visible } from '../shared/visible';

/** Characters of a name, which can be as long as a text, that stand in a row at most. */
const NAME_MOST = 300;

/** Seconds that a trace took, or has taken so far. */
export function taken(
  trace: Pick<ITraceSummary, 'status' | 'started_at' | 'duration_s'>,
  now: number
): number | null {
  if (trace.status !== 'open' || trace.duration_s !== null) {
    return trace.duration_s;
  }
  const past = (now - Date.parse(trace.started_at)) / 1000;
  return Number.isFinite(past) ? Math.max(0, past) : null;
}

/** Input and output tokens, such as "120 → 34". */
export function tokens(
  trace: Pick<ITraceSummary, 'input_tokens' | 'output_tokens'>
): string {
  return trace.input_tokens === null && trace.output_tokens === null
    ? ''
    : `${number(trace.input_tokens)} → ${number(trace.output_tokens)}`;
}

/** What stands where there is no answer. */
function unanswered(trans: TranslationBundle, status: string): string {
  switch (status) {
    case 'open':
      return trans.__('No answer yet');
    case 'ok':
      return trans.__('No text');
    default:
      return trans.__('No answer');
  }
}

interface IRowProps {
  trans: TranslationBundle;
  trace: ITraceSummary | null;
  now: number;
  marked: boolean;
  fresh: boolean;
  onMark: (id: string, range: boolean) => void;
}

/** A trace in three lines of one height: what and when, how it went, what came out. */
export const Row = React.memo((props: IRowProps): React.JSX.Element => {
  const { trans, trace, now, marked, fresh, onMark } = props;
  if (!trace) {
    return (
      <div className="jp-LLMOps-summary" aria-busy="true">
        <div className="jp-LLMOps-summary-line">…</div>
        <div className="jp-LLMOps-summary-line">&nbsp;</div>
        <div className="jp-LLMOps-summary-line">&nbsp;</div>
      </div>
    );
  }
  const took = seconds(taken(trace, now));
  const used = tokens(trace);
  const from = [trace.notebook && fileName(trace.notebook), trace.session]
    .filter(Boolean)
    .map(text => visible(text))
    .join(' · ');
  return (
    <div className="jp-LLMOps-summary" data-fresh={fresh || undefined}>
      <div className="jp-LLMOps-summary-line">
        <span
          className="jp-LLMOps-summary-mark"
          data-marked={marked || undefined}
          aria-hidden="true"
          title={trans.__('Select (Space)')}
          onClick={event => {
            event.stopPropagation();
            onMark(trace.trace_id, event.shiftKey);
          }}
        >
          {marked ? '☑' : '☐'}
        </span>
        <bdi
          className="jp-LLMOps-summary-name"
          title={beginning(visible(trace.name), NAME_MOST)}
        >
          {beginning(visible(trace.prompt || trace.name), NAME_MOST)}
        </bdi>
        <time
          className="jp-LLMOps-summary-time"
          dateTime={trace.started_at}
          title={[when(trace.started_at), from].filter(Boolean).join('\n')}
        >
          {ago(trace.started_at, Math.max(now, Date.parse(trace.started_at)))}
        </time>
      </div>
      <div className="jp-LLMOps-summary-line jp-LLMOps-quiet">
        <StatusBadge trans={trans} status={trace.status} />
        <bdi className="jp-LLMOps-summary-model" title={visible(trace.model)}>
          {visible(trace.model)}
        </bdi>
        <span className="jp-LLMOps-number" title={trans.__('Duration')}>
          {took}
        </span>
        {used && (
          <span
            className="jp-LLMOps-number"
            title={trans.__('Tokens read and written')}
          >
            {used}
          </span>
        )}
      </div>
      <div className="jp-LLMOps-summary-line">
        <bdi
          className="jp-LLMOps-summary-preview"
          title={visible(trace.preview)}
        >
          {visible(trace.preview.replace(/\s+/g, ' ').trim()) ||
            unanswered(trans, trace.status)}
        </bdi>
      </div>
    </div>
  );
});
Row.displayName = 'Row';
