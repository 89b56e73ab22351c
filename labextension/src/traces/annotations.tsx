import { TranslationBundle } from '@jupyterlab/translation';
import * as React from 'react';

import { Client, ITrace } from '../api';
import { IHost } from '../host';
import { tried } from '../shared/errands';
import { number } from '../shared/quantities';
import { visible } from '../shared/visible';
import {
  IBefore,
  NONE,
  NOTE,
  THUMB,
  given,
  keys,
  note,
  said,
  thumb,
  undo
} from './annotation';

export interface IAnnotate {
  up: () => void;
  down: () => void;
  note: () => void;
  /** Undefined while there is nothing to undo. */
  undo?: () => void;
}

/** Ways to judge a trace; null while there is none. `again` has it read anew. */
export function useAnnotations(
  client: Client,
  host: IHost,
  trans: TranslationBundle,
  trace: ITrace | null,
  again: () => void
): IAnnotate | null {
  const [last, setLast] = React.useState<[string, IBefore] | null>(null);
  const busy = React.useRef(false);
  if (!trace) {
    return null;
  }
  const id = trace.trace_id;
  const run = async (action: () => Promise<IBefore | null>) => {
    if (busy.current) {
      return;
    }
    busy.current = true;
    const before = await tried(host, trans, action);
    busy.current = false;
    if (before) {
      setLast([id, before]);
      again();
    }
  };
  const put = (value: 'up' | 'down') => () =>
    void run(() => thumb(client, trace, value));
  return {
    up: put('up'),
    down: put('down'),
    note: () =>
      void run(async () => {
        const text = await host.askText(
          trans.__('Note on this trace'),
          trans.__('What is good or bad about it')
        );
        return text ? note(client, trace, text) : null;
      }),
    undo:
      last && last[0] === id
        ? () =>
            void tried(host, trans, async () => {
              await undo(client, id, last[1]);
              setLast(null);
              again();
            })
        : undefined
  };
}

/** What the trace was scored, and buttons to judge it. */
export function Annotations(props: {
  trans: TranslationBundle;
  trace: ITrace;
  annotate: IAnnotate | null;
}): React.JSX.Element {
  const { trans, trace, annotate } = props;
  const mine = given(trace, THUMB);
  const now = mine ? said(mine) : NONE;
  const text = mine?.explanation || given(trace, NOTE)?.explanation || '';
  const scores = trace.scores.filter(score => said(score) !== NONE);
  return (
    <div className="jp-LLMOps-annotate">
      <div
        className="jp-LLMOps-detail-line"
        role="group"
        aria-label={trans.__('Your judgement')}
      >
        <button
          className="jp-LLMOps-button"
          aria-pressed={now === 'up'}
          title={trans.__('Score thumb=up (+)')}
          onClick={annotate?.up}
        >
          <span aria-hidden="true">+ </span>
          {trans.__('Good')}
        </button>
        <button
          className="jp-LLMOps-button"
          aria-pressed={now === 'down'}
          title={trans.__('Score thumb=down (-)')}
          onClick={annotate?.down}
        >
          <span aria-hidden="true">− </span>
          {trans.__('Bad')}
        </button>
        <button
          className="jp-LLMOps-button"
          title={trans.__('Write a note (n)')}
          onClick={annotate?.note}
        >
          {trans.__('Note…')}
        </button>
        <button
          className="jp-LLMOps-button"
          disabled={!annotate?.undo}
          title={trans.__('Score again what was there before, or none (u)')}
          onClick={annotate?.undo}
        >
          {trans.__('Undo')}
        </button>
      </div>
      {text && (
        <p className="jp-LLMOps-annotate-note">
          <bdi>{visible(text)}</bdi>
        </p>
      )}
      <span className="jp-LLMOps-unseen" role="status">
        {mine && now !== NONE ? trans.__('Your thumb: %1', now) : ''}
      </span>
      {scores.length > 0 && (
        <ul
          className="jp-LLMOps-annotate-scores"
          aria-label={trans.__('Scores')}
        >
          {scores.map((score, i) => (
            <li key={i} title={visible(score.explanation)}>
              <bdi>
                {visible(score.name)} ={' '}
                {visible(score.label ?? number(score.value, 4))}
              </bdi>{' '}
              <span className="jp-LLMOps-quiet">({visible(score.source)})</span>
            </li>
          ))}
        </ul>
      )}
      <details className="jp-LLMOps-annotate-keys">
        <summary>{trans.__('Keys')}</summary>
        <dl>
          {keys(trans).map(([key, does]) => (
            <React.Fragment key={key}>
              <dt>
                <kbd>{key}</kbd>
              </dt>
              <dd>{does}</dd>
            </React.Fragment>
          ))}
        </dl>
      </details>
    </div>
  );
}
