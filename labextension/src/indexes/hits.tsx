import { TranslationBundle } from '@jupyterlab/translation';
import * as React from 'react';

import { IHit, IHits } from '../api';
import { Name, Toggle } from '../shared/plain';
import { number } from '../shared/quantities';
import { visible } from '../shared/visible';
import { excerpt, Marked, piecesOf } from './marked';

/** What a search found, best first, with what to know about it. */
export function Hits(props: {
  trans: TranslationBundle;
  found: IHits;
  label: string;
}): React.JSX.Element {
  const { trans, found, label } = props;
  const legs = found.legs.map(leg => legName(trans, leg)).join(', ');
  return (
    <>
      <p className="jp-LLMOps-quiet">
        {legs
          ? trans.__('Searched by: %1.', legs)
          : trans.__('Nothing was searched.')}{' '}
        <Name text={found.note} />
      </p>
      <ol className="jp-LLMOps-passages" aria-label={label}>
        {found.hits.map((hit, i) => (
          <li key={`${i} ${hit.source} ${hit.locator}`}>
            <Hit trans={trans} hit={hit} />
          </li>
        ))}
      </ol>
    </>
  );
}

function Hit(props: {
  trans: TranslationBundle;
  hit: IHit;
}): React.JSX.Element {
  const { trans, hit } = props;
  const [whole, setWhole] = React.useState(false);
  const pieces = React.useMemo(() => piecesOf(hit), [hit]);
  const short = React.useMemo(() => excerpt(pieces), [pieces]);
  const isCut =
    short.length !== pieces.length ||
    short.some((p, i) => p.text !== pieces[i].text);
  return (
    <article>
      <header>
        <Source source={hit.source} />{' '}
        <bdi className="jp-LLMOps-quiet">{visible(hit.locator)}</bdi>
      </header>
      <div className="jp-LLMOps-plain" dir="auto">
        <Marked pieces={whole ? pieces : short} />
      </div>
      {isCut && (
        <Toggle
          open={whole}
          onToggle={() => setWhole(!whole)}
          label={
            whole ? trans.__('Show less') : trans.__('Show the whole passage')
          }
        />
      )}
      <p className="jp-LLMOps-quiet jp-LLMOps-legs">
        <span>{trans.__('score %1', number(hit.score, 3))}</span>
        <span>{trans.__('words (BM25) %1', number(hit.words, 2))}</span>
        <span>{trans.__('vectors (cosine) %1', number(hit.vectors, 2))}</span>
      </p>
    </article>
  );
}

/** Where a passage comes from; an address of the web is a link, shown in full. */
function Source(props: { source: string }): React.JSX.Element {
  const { source } = props;
  const text = <bdi className="jp-LLMOps-source">{visible(source)}</bdi>;
  return isAddress(source) ? (
    <a href={source} target="_blank" rel="noopener noreferrer">
      {text}
    </a>
  ) : (
    text
  );
}

function isAddress(text: string): boolean {
  if (!/^https?:\/\/[^\s\p{Cc}]+$/iu.test(text)) {
    return false;
  }
  try {
    return ['http:', 'https:'].includes(new URL(text).protocol);
  } catch {
    return false;
  }
}

function legName(trans: TranslationBundle, leg: string): string {
  return leg === 'words'
    ? trans.__('words')
    : leg === 'vectors'
      ? trans.__('vectors')
      : visible(leg);
}
