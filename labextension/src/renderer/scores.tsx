import { TranslationBundle } from '@jupyterlab/translation';
import * as React from 'react';

import { IScore } from '../api';
import { LongText } from '../shared/long';
import { number, when } from '../shared/quantities';
import { visible } from '../shared/visible';
import { Part } from './text';

/** Judgements by code, judges and people. */
export function Scores(props: {
  scores: readonly IScore[];
  trans: TranslationBundle;
}): React.JSX.Element | null {
  const { scores, trans } = props;
  if (!scores.length) {
    return null;
  }
  return (
    <Part title={trans.__('Scores')}>
      <ul className="jp-LLMOps-scores">
        {scores.map((score, at) => (
          <li key={at}>
            <b>
              <bdi>{visible(score.name)}</bdi>
            </b>{' '}
            <bdi>{visible(score.label ?? number(score.value, 4))}</bdi>{' '}
            <span className="jp-LLMOps-quiet">
              {[
                visible(score.source),
                visible(score.identifier),
                when(score.at)
              ]
                .filter(Boolean)
                .join(' · ')}
            </span>
            {score.explanation && (
              <LongText text={score.explanation} trans={trans} />
            )}
          </li>
        ))}
      </ul>
    </Part>
  );
}
