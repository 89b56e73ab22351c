import { TranslationBundle } from '@jupyterlab/translation';
import * as React from 'react';

import { IHits, IIndex } from '../api';
import { ISectionProps } from '../panel/sections';
import { Action } from '../shared/action';
import { useClient } from '../shared/asked';
import { Facts } from '../shared/facts';
import { magicLine } from '../shared/magicline';
import { Name } from '../shared/plain';
import { bytes, number } from '../shared/quantities';
import { Ago } from '../shared/row';
import { Standing } from '../shared/standing';
import { Failure } from '../shared/states';
import { Hits } from './hits';
import { FIRST, MOST, useSearch } from './search';

/** The worse of two states of health comes first. */
const WORST = ['alert', 'warning', 'ok'] as const;

/** An index: what is in it, how it is, a search, and cells that go on from there. */
export function Index(
  props: ISectionProps & { index: IIndex }
): React.JSX.Element {
  const { host, trans, index } = props;
  const lines: [string, string][] = [
    [trans.__('Status'), '%rag status'],
    [trans.__('Documents'), '%rag documents'],
    [trans.__('Search in a panel'), '%rag panel']
  ];
  return (
    <>
      <Facts facts={factsOf(trans, index)} />
      <Health trans={trans} index={index} />
      <div className="jp-LLMOps-actions">
        {lines.map(([label, command]) => (
          <Action
            key={command}
            host={host}
            trans={trans}
            label={label}
            source={magicLine(command, index.name)}
          />
        ))}
      </div>
      <Search {...props} />
    </>
  );
}

/** How an index is in one word; undefined where nothing is known of its health. */
export function worstOf(index: IIndex): string | undefined {
  return WORST.find(state => index.health.some(line => line.state === state));
}

export function healthWords(trans: TranslationBundle, state: string): string {
  return state === 'ok'
    ? trans.__('ok')
    : state === 'warning'
      ? trans.__('warning')
      : trans.__('alert');
}

function factsOf(
  trans: TranslationBundle,
  index: IIndex
): [string, React.ReactNode][] {
  return [
    [trans.__('Documents'), number(index.documents)],
    [trans.__('Passages'), number(index.passages)],
    [
      trans.__('Embedder'),
      index.embedder ? (
        <Name text={index.embedder} />
      ) : (
        trans.__('none: found by words only')
      )
    ],
    [trans.__('Size'), bytes(index.size)],
    [trans.__('Changed'), <Ago key="at" at={index.changed_at} />]
  ];
}

function Health(props: {
  trans: TranslationBundle;
  index: IIndex;
}): React.JSX.Element | null {
  const { trans, index } = props;
  if (index.health.length === 0) {
    return null;
  }
  return (
    <ul className="jp-LLMOps-health" aria-label={trans.__('Health')}>
      {index.health.map(({ state, words }, i) => (
        <li key={i}>
          <Standing state={state} text={healthWords(trans, state)} />
          <Name text={words} />
        </li>
      ))}
    </ul>
  );
}

/** What is typed is searched for; Enter does nothing more, and Escape empties the field. */
function Search(props: ISectionProps & { index: IIndex }): React.JSX.Element {
  const { watched, host, trans, index } = props;
  const client = useClient(watched);
  const [query, setQuery] = React.useState('');
  const [k, setK] = React.useState(FIRST);
  const search = useSearch(client, index.name, query, k);
  const label = trans.__('Search %1', index.name);
  const question = query.trim();
  const line = magicLine('%%rag ask', index.name);
  const type = (text: string) => {
    setQuery(text);
    setK(FIRST);
  };
  return (
    <section className="jp-LLMOps-search" aria-label={label}>
      <form role="search" onSubmit={event => event.preventDefault()}>
        <input
          type="search"
          value={query}
          aria-label={label}
          placeholder={label}
          autoComplete="off"
          spellCheck={false}
          dir="auto"
          onChange={event => type(event.target.value)}
          onKeyDown={event => {
            if (event.key === 'Escape') {
              type('');
            }
          }}
        />
      </form>
      <p className="jp-LLMOps-quiet" role="status">
        {search.busy
          ? trans.__('Searching…')
          : search.hits && found(trans, search.hits)}
      </p>
      {search.fault !== null && (
        <Failure trans={trans} fault={search.fault} again={search.again} />
      )}
      {question && (
        <div className="jp-LLMOps-actions">
          <Action
            host={host}
            trans={trans}
            label={trans.__('Ask this')}
            source={line && `${line}\n${question}`}
          />
        </div>
      )}
      {search.hits && (
        <Hits
          trans={trans}
          found={search.hits}
          label={trans.__('Passages found')}
        />
      )}
      {search.hits && search.hits.hits.length >= k && k < MOST && (
        <button
          className="jp-LLMOps-button jp-LLMOps-further"
          onClick={() => setK(Math.min(MOST, k + FIRST))}
        >
          {trans.__('More passages')}
        </button>
      )}
    </section>
  );
}

function found(trans: TranslationBundle, { hits }: IHits): string {
  return hits.length === 0
    ? trans.__('No passage was found.')
    : trans._n('%1 passage', '%1 passages', hits.length);
}
