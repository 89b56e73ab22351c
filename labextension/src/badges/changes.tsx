import { Dialog, ReactWidget } from '@jupyterlab/apputils';
import { TranslationBundle } from '@jupyterlab/translation';
import * as React from 'react';

import { Client, IDiff } from '../api';
import { Boundary } from '../shared/boundary';
import { Diff } from '../shared/diff';
import { Failure, Loading } from '../shared/states';
import { IBadge } from './state';

import '../../style/diff.css';

/** Two versions that can be compared. */
export interface IPair {
  a: number;
  b: number;
}

/** What can be compared from a cell: its version with the one before it, and the newest one with its version. */
export function pairs(badge: IBadge): IPair[] {
  const found: IPair[] = [];
  if (badge.previous !== null) {
    found.push({ a: badge.previous, b: badge.version });
  }
  if (badge.latest > badge.version) {
    found.push({ a: badge.version, b: badge.latest });
  }
  return found;
}

/** Show in a dialog what changed between the versions of a prompt. */
export async function showChanges(
  client: Client,
  badge: IBadge,
  trans: TranslationBundle
): Promise<void> {
  const body = ReactWidget.create(
    <Boundary trans={trans}>
      <Changes client={client} badge={badge} trans={trans} />
    </Boundary>
  );
  body.addClass('jp-LLMOps');
  body.addClass('jp-LLMOps-changes');
  await new Dialog({
    title: `${badge.prompt}@${badge.version}`,
    body,
    buttons: [Dialog.okButton({ label: trans.__('Close') })],
    hasClose: true
  }).launch();
}

/** The difference of two versions, and which two. */
export function Changes(props: {
  client: Pick<Client, 'diff'>;
  badge: IBadge;
  trans: TranslationBundle;
}): React.JSX.Element {
  const { client, badge, trans } = props;
  const choices = React.useMemo(() => pairs(badge), [badge]);
  const [chosen, setChosen] = React.useState(0);
  const [diff, setDiff] = React.useState<IDiff | null>(null);
  const [fault, setFault] = React.useState<unknown>(null);
  const [round, again] = React.useReducer((n: number) => n + 1, 0);
  const pair: IPair | undefined = choices[chosen];
  React.useEffect(() => {
    let left = false;
    setDiff(null);
    setFault(null);
    if (pair) {
      client.diff(badge.prompt, pair.a, pair.b).then(
        found => !left && setDiff(found),
        error => !left && setFault(error)
      );
    }
    return () => {
      left = true;
    };
  }, [client, badge, pair, round]);
  return (
    <>
      {badge.differs && (
        <p>
          {trans.__(
            'The text of the cell was changed since it ran. Run it, and the change becomes a version.'
          )}
        </p>
      )}
      {!pair && (
        <p>
          {trans.__('This is the first version: there is none to compare to.')}
        </p>
      )}
      {choices.length > 1 && (
        <label className="jp-LLMOps-workspaces">
          <span>{trans.__('Compare')}</span>
          <select
            value={chosen}
            onChange={event => setChosen(Number(event.target.value))}
          >
            {choices.map(({ a, b }, at) => (
              <option key={at} value={at}>
                {trans.__('@%1 to @%2', a, b)}
              </option>
            ))}
          </select>
        </label>
      )}
      {fault !== null && <Failure trans={trans} fault={fault} again={again} />}
      {pair && !diff && fault === null && <Loading trans={trans} />}
      {diff && <Diff trans={trans} diff={diff} />}
    </>
  );
}
