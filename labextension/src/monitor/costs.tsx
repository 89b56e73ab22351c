import { TranslationBundle } from '@jupyterlab/translation';
import * as React from 'react';

import { IBudget, ICost } from '../api';
import { ISectionProps } from '../panel/sections';
import { Action } from '../shared/action';
import { Bar } from '../shared/bars';
import { Bounded, Further, useFirst } from '../shared/bounded';
import { magicLine } from '../shared/magicline';
import { placeOf } from '../shared/place';
import { Name } from '../shared/plain';
import { dollars, number, percent } from '../shared/quantities';
import { Row } from '../shared/row';
import { Scroll } from '../shared/scroll';
import { Standing } from '../shared/standing';
import { amount, sourceWords, used as usedOf, window } from './amounts';

/** Rows of the table at first, and more at a time. */
const ROWS = 20;
/** The share of a budget from which on it warns, unless it says otherwise. */
const WARN = 0.8;
/** Names that prompts may have, so that their traces can be asked for. */
const PROMPT = /^[a-z0-9][a-z0-9._-]*(@\d+)?$/;

/** What calls took, the dearest first. */
export function Costs(
  props: ISectionProps & { costs: readonly ICost[]; since: string }
): React.JSX.Element {
  const { host, trans, go, costs, since } = props;
  const ordered = React.useMemo(() => dearestFirst(costs), [costs]);
  const some = useFirst(ordered, ROWS, ROWS);
  if (costs.length === 0) {
    return (
      <p className="jp-LLMOps-quiet">
        {trans.__('No calls of models in this time.')}
      </p>
    );
  }
  return (
    <>
      <Scroll label={trans.__('Costs')}>
        <table className="jp-LLMOps-table">
          <thead>
            <tr>
              <th scope="col">{trans.__('Name')}</th>
              <th scope="col">{trans.__('Calls')}</th>
              <th scope="col">{trans.__('Tokens in')}</th>
              <th scope="col">{trans.__('Tokens out')}</th>
              <th scope="col">{trans.__('Cost')}</th>
              <th scope="col">{trans.__('Figures')}</th>
            </tr>
          </thead>
          <tbody>
            {some.shown.map((cost, i) => (
              <Line
                key={i}
                trans={trans}
                cost={cost}
                onShow={name => go('traces', placeOf({ prompt: name, since }))}
              />
            ))}
          </tbody>
        </table>
      </Scroll>
      <Further trans={trans} of={some} />
      <Uncosted trans={trans} costs={costs} />
      <div className="jp-LLMOps-actions">
        <Action
          host={host}
          trans={trans}
          label={trans.__('All figures')}
          source={magicLine('%monitor cost --since', since)}
        />
        <Action
          host={host}
          trans={trans}
          label={trans.__('Spikes')}
          source={magicLine('%monitor spikes --since', since)}
        />
      </div>
    </>
  );
}

function dearestFirst(costs: readonly ICost[]): ICost[] {
  return [...costs].sort(
    (a, b) =>
      (b.cost ?? -1) - (a.cost ?? -1) ||
      b.output_tokens - a.output_tokens ||
      b.calls - a.calls
  );
}

function Line(props: {
  trans: TranslationBundle;
  cost: ICost;
  onShow: (name: string) => void;
}): React.JSX.Element {
  const { trans, cost, onShow } = props;
  const name = <Name text={cost.name} />;
  return (
    <tr>
      <th scope="row">
        {PROMPT.test(cost.name) ? (
          <button
            className="jp-LLMOps-link"
            title={trans.__('Show its traces')}
            onClick={() => onShow(cost.name)}
          >
            {name}
          </button>
        ) : (
          name
        )}
      </th>
      <td className="jp-LLMOps-number">{number(cost.calls)}</td>
      <td className="jp-LLMOps-number">{number(cost.input_tokens)}</td>
      <td className="jp-LLMOps-number">{number(cost.output_tokens)}</td>
      <td className="jp-LLMOps-number">{dollars(cost.cost)}</td>
      <td>{sourceWords(trans, cost.source)}</td>
    </tr>
  );
}

/** That nothing says what some calls cost. */
function Uncosted(props: {
  trans: TranslationBundle;
  costs: readonly ICost[];
}): React.JSX.Element | null {
  const { trans, costs } = props;
  const calls = costs
    .filter(cost => cost.cost === null)
    .reduce((sum, cost) => sum + cost.calls, 0);
  if (calls === 0) {
    return null;
  }
  return (
    <p className="jp-LLMOps-quiet">
      {trans._n(
        'Nothing says what %2 call cost; say watts and prices in prices.json.',
        'Nothing says what %2 calls cost; say watts and prices in prices.json.',
        calls,
        number(calls)
      )}
    </p>
  );
}

/** Budgets with what was used of them. */
export function Budgets(
  props: ISectionProps & { budgets: readonly IBudget[] }
): React.JSX.Element | null {
  const { trans, budgets } = props;
  if (budgets.length === 0) {
    return null;
  }
  return (
    <section aria-label={trans.__('Budgets')}>
      <h4>{trans.__('Budgets')}</h4>
      <Bounded
        trans={trans}
        label={trans.__('Budgets')}
        items={budgets.map((budget, place) => ({ budget, place }))}
        id={({ budget, place }) => `${budget.name} ${budget.unit} ${place}`}
        first={20}
        render={({ budget }) => <Budget {...props} budget={budget} />}
      />
    </section>
  );
}

function Budget(props: ISectionProps & { budget: IBudget }): React.JSX.Element {
  const { host, trans, budget } = props;
  const { used, limit, unit, per, name } = budget;
  const each = per === 'call';
  const share = each ? 0 : limit > 0 ? used / limit : 1;
  const state = share >= 1 ? 'used up' : share >= WARN ? 'warning' : 'ok';
  const text = each
    ? trans.__('at most %1 %2', amount(trans, limit, unit), window(trans, per))
    : trans.__(
        '%1 of %2 %3 (%4)',
        usedOf(trans, used, unit),
        amount(trans, limit, unit),
        window(trans, per),
        percent(share, 0)
      );
  const words: Record<string, string> = {
    ok: trans.__('ok'),
    warning: trans.__('warning'),
    'used up': trans.__('used up')
  };
  return (
    <Row
      head={
        <>
          <Name text={name} />{' '}
          {!each && <Standing state={state} text={words[state]} />}
        </>
      }
      actions={
        <Action
          host={host}
          trans={trans}
          label={trans.__('Show')}
          source={magicLine('%monitor budget', name)}
        />
      }
    >
      {!each && (
        <Bar
          label={trans.__('Budget %1', name)}
          share={share}
          text={text}
          state={state}
        />
      )}
      <div className="jp-LLMOps-quiet">{text}</div>
    </Row>
  );
}
