import { TranslationBundle } from '@jupyterlab/translation';
import * as React from 'react';

import { LongText } from '../shared/long';
import { number } from '../shared/quantities';
import { visible } from '../shared/visible';
import { IVerdict } from './gathered';
import { Part } from './text';

/** What the checks of a guard policy decided; those that found nothing are counted and can be opened. */
export function Verdicts(props: {
  verdicts: readonly IVerdict[];
  trans: TranslationBundle;
}): React.JSX.Element | null {
  const { verdicts, trans } = props;
  if (!verdicts.length) {
    return null;
  }
  const told = verdicts.filter(verdict => verdict.decision !== 'allow');
  const quiet = verdicts.filter(verdict => verdict.decision === 'allow');
  const policies = [...new Set(verdicts.map(v => v.policy).filter(Boolean))];
  return (
    <Part
      title={trans.__('Guard')}
      note={policies.map(visible).join(', ') || undefined}
    >
      <Some verdicts={told} trans={trans} />
      {quiet.length > 0 && (
        <details>
          <summary>
            {trans._n(
              '%1 check found nothing',
              '%1 checks found nothing',
              quiet.length
            )}
          </summary>
          <Some verdicts={quiet} trans={trans} />
        </details>
      )}
    </Part>
  );
}

function Some(props: {
  verdicts: readonly IVerdict[];
  trans: TranslationBundle;
}): React.JSX.Element {
  return (
    <ul className="jp-LLMOps-verdicts">
      {props.verdicts.map((verdict, at) => (
        <Verdict key={at} verdict={verdict} trans={props.trans} />
      ))}
    </ul>
  );
}

function Verdict(props: {
  verdict: IVerdict;
  trans: TranslationBundle;
}): React.JSX.Element {
  const { verdict, trans } = props;
  const facts = [placeWord(verdict.place, trans)];
  if (verdict.score !== null) {
    facts.push(
      verdict.threshold === null
        ? trans.__('score %1', number(verdict.score, 3))
        : trans.__(
            'score %1, decides from %2',
            number(verdict.score, 3),
            number(verdict.threshold, 3)
          )
    );
  }
  const done = actionWord(verdict.action, trans);
  if (done) {
    facts.push(done);
  }
  return (
    <li>
      <span className="jp-LLMOps-badge" data-state={stateOf(verdict.decision)}>
        {decisionWord(verdict.decision, trans)}
      </span>{' '}
      <b>
        <bdi>{visible(verdict.check)}</bdi>
      </b>{' '}
      <span className="jp-LLMOps-quiet">{facts.join(' · ')}</span>
      {verdict.reason && (
        <div>
          <bdi>{visible(verdict.reason)}</bdi>
        </div>
      )}
      {verdict.evidence && <LongText text={verdict.evidence} trans={trans} />}
    </li>
  );
}

function stateOf(decision: string): string | undefined {
  switch (decision) {
    case 'allow':
      return 'ok';
    case 'warn':
    case 'modify':
      return 'warning';
    case 'deny':
      return 'alert';
    default:
      return undefined;
  }
}

function decisionWord(decision: string, trans: TranslationBundle): string {
  switch (decision) {
    case 'allow':
      return trans.__('allowed');
    case 'warn':
      return trans.__('warning');
    case 'modify':
      return trans.__('changed');
    case 'deny':
      return trans.__('denied');
    default:
      return visible(decision);
  }
}

function placeWord(place: string, trans: TranslationBundle): string {
  switch (place) {
    case 'input':
      return trans.__('of the input');
    case 'context':
      return trans.__('of the passages');
    case 'output':
      return trans.__('of the answer');
    default:
      return visible(place);
  }
}

function actionWord(action: string, trans: TranslationBundle): string {
  switch (action) {
    case 'none':
    case '':
      return '';
    case 'noted':
      return trans.__('only noted');
    case 'replaced':
      return trans.__('replaced');
    case 'blocked':
      return trans.__('blocked');
    default:
      return visible(action);
  }
}
