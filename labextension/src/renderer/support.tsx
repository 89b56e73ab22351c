import { TranslationBundle } from '@jupyterlab/translation';
import * as React from 'react';

import { LongText } from '../shared/long';
import { number } from '../shared/quantities';
import { visible } from '../shared/visible';
import { IClaim, IPlaceOfWords } from './gathered';
import { Part } from './text';

/** The sentences of an answer: which of them the passages support, and with which words. */
export function Support(props: {
  claims: readonly IClaim[];
  trans: TranslationBundle;
}): React.JSX.Element | null {
  const { claims, trans } = props;
  if (!claims.length) {
    return null;
  }
  const made = claims.filter(claim => claim.verdict !== 'no claim');
  const held = made.filter(claim => claim.verdict === 'supported');
  const note = made.length
    ? trans.__(
        '%1 of %2 statements are in the passages',
        number(held.length),
        number(made.length)
      )
    : trans.__('no statement that could be checked');
  return (
    <Part title={trans.__('Support')} note={note}>
      <ol className="jp-LLMOps-claims">
        {claims.map((claim, at) => (
          <Claim key={at} claim={claim} trans={trans} />
        ))}
      </ol>
    </Part>
  );
}

function Claim(props: {
  claim: IClaim;
  trans: TranslationBundle;
}): React.JSX.Element {
  const { claim, trans } = props;
  return (
    <li>
      <span className="jp-LLMOps-badge" data-state={stateOf(claim.verdict)}>
        {verdictWord(claim.verdict, trans)}
      </span>
      <LongText text={claim.text} trans={trans} />
      {claim.why && (
        <div className="jp-LLMOps-quiet">
          <bdi>{visible(claim.why)}</bdi>
        </div>
      )}
      {claim.citations.length > 0 && (
        <details open={claim.verdict === 'contradicted'}>
          <summary>
            {trans._n(
              '%1 place in the documents',
              '%1 places in the documents',
              claim.citations.length
            )}
          </summary>
          <ul>
            {claim.citations.map((place, at) => (
              <Place key={at} place={place} trans={trans} />
            ))}
          </ul>
        </details>
      )}
    </li>
  );
}

function Place(props: {
  place: IPlaceOfWords;
  trans: TranslationBundle;
}): React.JSX.Element {
  const { place, trans } = props;
  return (
    <li>
      {place.number !== null && `[${number(place.number)}] `}
      <bdi>{visible(place.source)}</bdi>{' '}
      <bdi className="jp-LLMOps-quiet">{visible(place.locator)}</bdi>
      {place.quote && <LongText text={place.quote} trans={trans} />}
    </li>
  );
}

function stateOf(verdict: string): string | undefined {
  switch (verdict) {
    case 'supported':
      return 'ok';
    case 'unsupported':
      return 'warning';
    case 'contradicted':
      return 'alert';
    default:
      return undefined;
  }
}

function verdictWord(verdict: string, trans: TranslationBundle): string {
  switch (verdict) {
    case 'supported':
      return trans.__('✓ supported');
    case 'unsupported':
      return trans.__('? not found');
    case 'contradicted':
      return trans.__('≠ contradicted');
    case 'no claim':
      return trans.__('no statement');
    default:
      return visible(verdict);
  }
}
