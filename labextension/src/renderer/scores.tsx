import { TranslationBundle } from '@jupyterlab/translation';
import * as React from 'react';

import { IScore } from '../api';
import { number, when } from '../shared/quantities';
import { inert, LongText, Part } from './text';

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
              <bdi>{inert(score.name)}</bdi>
            </b>{' '}
            <bdi>{inert(score.label ?? number(score.value, 4))}</bdi>{' '}
            <span className="jp-LLMOps-quiet">
              {[inert(score.source), inert(score.identifier), when(score.at)]
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
