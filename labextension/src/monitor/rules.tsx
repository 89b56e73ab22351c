import { TranslationBundle } from '@jupyterlab/translation';
import * as React from 'react';

import { IRule } from '../api';
import { ISectionProps } from '../panel/sections';
import { Action } from '../shared/action';
import { Bounded } from '../shared/bounded';
import { Fold, useOpened } from '../shared/fold';
import { LongText } from '../shared/long';
import { magicLine } from '../shared/magicline';
import { Name } from '../shared/plain';
import { ago, quantity, when } from '../shared/quantities';
import { Standing } from '../shared/standing';
import { Empty } from '../shared/states';
import { visible } from '../shared/visible';

/** States from the worst to the best, as `%monitor status` orders them. */
const ORDER = ['alert', 'warning', 'no data', 'ok'];

/** The rules with where they stand, the worst first. */
export function Rules(
  props: ISectionProps & { rules: readonly IRule[] }
): React.JSX.Element {
  const { host, trans, item, rules } = props;
  const [isOpen, setOpen] = useOpened();
  React.useEffect(() => {
    if (item) {
      setOpen(item, true);
    }
  }, [item, setOpen]);
  if (rules.length === 0) {
    return (
      <Empty
        text={trans.__(
          'No rules yet. A rule says what is watched, and from which value on it warns or alerts.'
        )}
        advice="%monitor alerts add errors --metric error_rate --alert 0.1"
      />
    );
  }
  return (
    <>
      <p className="jp-LLMOps-quiet">{counted(trans, rules)}</p>
      <Bounded
        trans={trans}
        label={trans.__('Rules')}
        items={worstFirst(rules)}
        id={rule => rule.name}
        render={rule => (
          <Fold
            level={4}
            title={<Name text={rule.name} />}
            beside={<Beside trans={trans} rule={rule} />}
            open={isOpen(rule.name)}
            onOpen={open => setOpen(rule.name, open)}
          >
            <Rule {...props} rule={rule} />
          </Fold>
        )}
      />
      <div className="jp-LLMOps-actions">
        <Action
          host={host}
          trans={trans}
          label={trans.__('Look now')}
          source="%monitor alerts look"
        />
        <Action
          host={host}
          trans={trans}
          label={trans.__('Panel')}
          source="%monitor panel"
        />
      </div>
    </>
  );
}

/** The worst first; of one state the newest first. */
export function worstFirst(rules: readonly IRule[]): IRule[] {
  const rank = (rule: IRule) => {
    const at = ORDER.indexOf(rule.state);
    return at < 0 ? ORDER.length : at;
  };
  const since = (rule: IRule) => Date.parse(rule.since ?? '') || 0;
  return [...rules].sort((a, b) => rank(a) - rank(b) || since(b) - since(a));
}

export function stateWords(trans: TranslationBundle, state: string): string {
  switch (state) {
    case 'ok':
      return trans.__('ok');
    case 'warning':
      return trans.__('warning');
    case 'alert':
      return trans.__('alert');
    case 'no data':
      return trans.__('no data');
    default:
      return visible(state);
  }
}

/** Whether a silence holds now. */
function isSilenced(rule: IRule, now = Date.now()): boolean {
  return rule.silenced_until !== null && Date.parse(rule.silenced_until) > now;
}

function counted(trans: TranslationBundle, rules: readonly IRule[]): string {
  const parts = ORDER.map(
    state => [rules.filter(rule => rule.state === state).length, state] as const
  )
    .filter(([count]) => count > 0)
    .map(([count, state]) => `${count} ${stateWords(trans, state)}`);
  return [trans._n('%1 rule', '%1 rules', rules.length), parts.join(', ')].join(
    ': '
  );
}

function Beside(props: {
  trans: TranslationBundle;
  rule: IRule;
}): React.JSX.Element {
  const { trans, rule } = props;
  return (
    <>
      <Standing state={rule.state} text={stateWords(trans, rule.state)} />{' '}
      {isSilenced(rule) && (
        <Standing state="silenced" text={trans.__('silenced')} />
      )}{' '}
      <span className="jp-LLMOps-quiet">{against(trans, rule)}</span>
    </>
  );
}

/** The value, and the threshold that it is compared with. */
function against(trans: TranslationBundle, rule: IRule): string {
  const value = quantity(rule.value, rule.unit);
  return rule.threshold === null
    ? value
    : trans.__('%1, limit %2', value, quantity(rule.threshold, rule.unit));
}

function Rule(props: ISectionProps & { rule: IRule }): React.JSX.Element {
  const { host, trans, go, rule } = props;
  const silenced = isSilenced(rule);
  const { traces, name } = rule;
  return (
    <>
      <LongText trans={trans} text={rule.words} />
      <p className="jp-LLMOps-quiet">
        {rule.since !== null && (
          <time dateTime={rule.since} title={when(rule.since)}>
            {trans.__(
              '%1 since %2',
              stateWords(trans, rule.state),
              ago(rule.since)
            )}
          </time>
        )}
        {silenced &&
          ` · ${trans.__('silenced until %1', when(rule.silenced_until as string))}`}
      </p>
      <div className="jp-LLMOps-actions">
        {traces && (
          <button
            className="jp-LLMOps-button"
            title={visible(traces)}
            onClick={() => go('traces', traces)}
          >
            {trans.__('Traces')}
          </button>
        )}
        <Action
          host={host}
          trans={trans}
          label={trans.__('Show')}
          source={magicLine('%monitor alerts show', name)}
        />
        <Action
          host={host}
          trans={trans}
          label={
            silenced ? trans.__('End the silence') : trans.__('Silence 1 h')
          }
          source={magicLine(
            silenced ? '%monitor alerts speak' : '%monitor alerts silence',
            name
          )}
        />
        {['warning', 'alert'].includes(rule.state) && (
          <Action
            host={host}
            trans={trans}
            label={trans.__('Acknowledge')}
            source={magicLine('%monitor alerts ack', name)}
          />
        )}
      </div>
    </>
  );
}
