import { TranslationBundle } from '@jupyterlab/translation';
import * as React from 'react';

import { LongText } from '../shared/long';
import { number } from '../shared/quantities';
import { visible } from '../shared/visible';
import { IFound, ISearch } from './gathered';
import { Part } from './text';

/** Searches in documents: what was looked for, and each passage with its scores, source and place in it. */
export function Retrieval(props: {
  searches: readonly ISearch[];
  trans: TranslationBundle;
}): React.JSX.Element | null {
  const { searches, trans } = props;
  if (!searches.length) {
    return null;
  }
  return (
    <Part title={trans.__('Retrieval')}>
      {searches.map((search, at) => (
        <Search key={at} search={search} trans={trans} />
      ))}
    </Part>
  );
}

function Search(props: {
  search: ISearch;
  trans: TranslationBundle;
}): React.JSX.Element {
  const { search, trans } = props;
  const best = Math.max(0, ...search.found.map(one => one.score ?? 0));
  return (
    <>
      <div className="jp-LLMOps-quiet">
        {search.index
          ? trans.__('Searched in %1 for', visible(search.index))
          : trans.__('Searched for')}
      </div>
      {search.query && <LongText text={search.query} trans={trans} />}
      {search.found.length === 0 && <p>{trans.__('Nothing was found.')}</p>}
      <ol className="jp-LLMOps-hits">
        {search.found.map((one, at) => (
          <Found key={at} found={one} best={best} trans={trans} />
        ))}
      </ol>
    </>
  );
}

function Found(props: {
  found: IFound;
  best: number;
  trans: TranslationBundle;
}): React.JSX.Element {
  const { found, best, trans } = props;
  const facts: string[] = [];
  if (found.score !== null) {
    facts.push(trans.__('score %1', number(found.score, 4)));
  }
  if (found.wordRank !== null) {
    facts.push(trans.__('by words no. %1', number(found.wordRank)));
  }
  if (found.vectorRank !== null) {
    facts.push(trans.__('by meaning no. %1', number(found.vectorRank)));
  }
  if (found.cosine !== null) {
    facts.push(trans.__('cosine %1', number(found.cosine, 3)));
  }
  facts.push(
    found.number === null
      ? trans.__('not in the prompt')
      : trans.__('in the prompt as [%1]', number(found.number))
  );
  const share = best > 0 ? Math.max(0, (found.score ?? 0) / best) : 0;
  return (
    <li>
      <div>
        <bdi>{visible(found.source) || trans.__('(no source)')}</bdi>
        {found.locator && (
          <span className="jp-LLMOps-quiet">
            {' '}
            <bdi>{visible(found.locator)}</bdi>
          </span>
        )}
      </div>
      <div className="jp-LLMOps-meter" aria-hidden="true">
        <div style={{ inlineSize: `${share * 100}%` }} />
      </div>
      <div className="jp-LLMOps-quiet">{facts.join(' · ')}</div>
      {found.text && <LongText text={found.text} trans={trans} />}
    </li>
  );
}
