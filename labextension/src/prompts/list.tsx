import { TranslationBundle } from '@jupyterlab/translation';
import * as React from 'react';

import { IPromptSummary } from '../api';
import { Pager, usePages } from '../shared/pager';
import { ago, number, when } from '../shared/quantities';
import { useRoving } from '../shared/roving';
import { Empty } from '../shared/states';
import { visible } from '../shared/visible';

const ROWS = 100;

export type Order = 'saved' | 'name' | 'traces';

/** How the list is filtered and ordered; kept while one prompt is shown. */
export interface IListState {
  filter: string;
  order: Order;
  /** The prompt that was opened last: the list begins there. */
  opened: string;
}

/** All prompts that have the words of the filter in name, alias or text. */
export function List(props: {
  trans: TranslationBundle;
  prompts: readonly IPromptSummary[];
  state: IListState;
  onState: (state: IListState) => void;
  onOpen: (name: string) => void;
  /** Whether to put the focus on the prompt that was opened last. */
  focus: boolean;
}): React.JSX.Element {
  const { trans, prompts, state, onState, onOpen } = props;
  const { filter, order, opened } = state;
  const found = React.useMemo(
    () => ordered(filtered(prompts, filter), order),
    [prompts, filter, order]
  );
  const place = Math.max(
    0,
    found.findIndex(prompt => prompt.name === opened)
  );
  const paged = usePages(
    found,
    ROWS,
    [filter, order],
    Math.floor(place / ROWS)
  );
  const roving = useRoving<HTMLDivElement>(
    paged.rows.length,
    index => onOpen(paged.rows[index].name),
    place % ROWS
  );
  const initial = React.useRef(props.focus ? place % ROWS : -1);
  const { focus } = roving;
  React.useEffect(() => {
    if (initial.current >= 0) {
      focus(initial.current);
      initial.current = -1;
    }
  }, [focus]);

  if (prompts.length === 0) {
    return (
      <Empty
        text={trans.__(
          'No prompts yet. Give a prompt cell a name, and each change of it is kept here as a version.'
        )}
        advice="%%prompt my-prompt"
      />
    );
  }
  return (
    <div className="jp-LLMOps-prompts">
      <Tools
        trans={trans}
        state={state}
        onState={onState}
        onDown={() => focus(0)}
      />
      <p className="jp-LLMOps-quiet jp-LLMOps-prompts-count" role="status">
        {found.length === prompts.length
          ? trans._n(
              '%2 prompt',
              '%2 prompts',
              prompts.length,
              number(prompts.length)
            )
          : trans.__(
              '%1 of %2 prompts',
              number(found.length),
              number(prompts.length)
            )}
      </p>
      {found.length === 0 && (
        <Empty text={trans.__('No prompt has these words.')} />
      )}
      {found.length > 0 && (
        <div
          className="jp-LLMOps-entries"
          role="listbox"
          aria-label={trans.__('Prompts')}
          ref={roving.list}
          onKeyDown={roving.onKeyDown}
        >
          {paged.rows.map((prompt, i) => (
            <div
              key={prompt.name}
              className="jp-LLMOps-entry"
              role="option"
              aria-selected={prompt.name === opened}
              {...roving.item(i)}
            >
              <Row trans={trans} prompt={prompt} />
            </div>
          ))}
        </div>
      )}
      <Pager trans={trans} paged={paged} label={trans.__('Pages of prompts')} />
    </div>
  );
}

function Tools(props: {
  trans: TranslationBundle;
  state: IListState;
  onState: (state: IListState) => void;
  onDown: () => void;
}): React.JSX.Element {
  const { trans, state, onState, onDown } = props;
  const keys = (event: React.KeyboardEvent) => {
    if (event.key === 'ArrowDown') {
      event.preventDefault();
      onDown();
    } else if (event.key === 'Escape' && state.filter) {
      event.stopPropagation();
      onState({ ...state, filter: '' });
    }
  };
  return (
    <div className="jp-LLMOps-strip">
      <input
        type="search"
        aria-label={trans.__('Filter prompts by name, alias or text')}
        placeholder={trans.__('Filter prompts')}
        value={state.filter}
        onChange={event => onState({ ...state, filter: event.target.value })}
        onKeyDown={keys}
      />
      <select
        aria-label={trans.__('Order')}
        value={state.order}
        onChange={event =>
          onState({ ...state, order: event.target.value as Order })
        }
      >
        <option value="saved">{trans.__('Newest')}</option>
        <option value="name">{trans.__('Name')}</option>
        <option value="traces">{trans.__('Most traces')}</option>
      </select>
    </div>
  );
}

function Row(props: {
  trans: TranslationBundle;
  prompt: IPromptSummary;
}): React.JSX.Element {
  const { trans, prompt } = props;
  return (
    <>
      <span className="jp-LLMOps-entry-head">
        <strong className="jp-LLMOps-entry-name" title={visible(prompt.name)}>
          {visible(prompt.name)}
        </strong>
        <span dir="ltr">@{prompt.latest}</span>
        <time
          className="jp-LLMOps-quiet jp-LLMOps-entry-end"
          dateTime={prompt.saved_at}
          title={when(prompt.saved_at)}
        >
          {ago(prompt.saved_at)}
        </time>
      </span>
      <span className="jp-LLMOps-chips">
        {Object.entries(prompt.aliases).map(([alias, version]) => (
          <span key={alias} className="jp-LLMOps-badge">
            {visible(alias)} → {version}
          </span>
        ))}
        {prompt.split !== null && (
          <span className="jp-LLMOps-badge" data-state="warning">
            {trans.__('Split: %1', visible(prompt.split))}
          </span>
        )}
      </span>
      <span className="jp-LLMOps-entry-text" dir="auto">
        {visible(prompt.preview)}
      </span>
      <span className="jp-LLMOps-quiet">
        {trans._n('%1 version', '%1 versions', prompt.versions)} ·{' '}
        {trans._n(
          '%2 trace',
          '%2 traces',
          prompt.traces,
          number(prompt.traces)
        )}
      </span>
    </>
  );
}

function filtered(
  prompts: readonly IPromptSummary[],
  filter: string
): IPromptSummary[] {
  const wanted = filter.toLowerCase().split(/\s+/).filter(Boolean);
  return prompts.filter(prompt => {
    const text = [prompt.name, ...Object.keys(prompt.aliases), prompt.preview]
      .join('\n')
      .toLowerCase();
    return wanted.every(word => text.includes(word));
  });
}

function ordered(prompts: IPromptSummary[], order: Order): IPromptSummary[] {
  const by: Record<Order, (a: IPromptSummary, b: IPromptSummary) => number> = {
    saved: (a, b) => b.saved_at.localeCompare(a.saved_at),
    name: (a, b) => a.name.localeCompare(b.name),
    traces: (a, b) => b.traces - a.traces
  };
  return [...prompts].sort(by[order]);
}
