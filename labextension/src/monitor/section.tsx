import { TranslationBundle } from '@jupyterlab/translation';
import * as React from 'react';

import { IMonitor } from '../api';
import { ISectionProps } from '../panel/sections';
import { Answer } from '../shared/answer';
import { useAsked } from '../shared/asked';
import { Fold, useOpened } from '../shared/fold';
import { Alarms } from './alarms';
import { Budgets, Costs } from './costs';
import { Drift } from './drift';
import { Rules } from './rules';
import { Traffic } from './traffic';

const AGES = ['24h', '7d', '30d'] as const;
/** What is open at first. */
const OPEN = ['rules', 'alarms', 'traffic', 'costs'];
type Age = (typeof AGES)[number];

/** How production does: rules and alarms, calls over time, drift, costs and budgets. */
export default function Section(props: ISectionProps): React.JSX.Element {
  const { watched, trans } = props;
  const [since, setSince] = React.useState<Age>('7d');
  const opened = useOpened(OPEN);
  const asked = useAsked(
    watched,
    ['monitor'],
    client => client.monitor(since),
    [since]
  );
  return (
    <div className="jp-LLMOps-monitor">
      <Ages trans={trans} since={since} onSince={setSince} />
      <Answer trans={trans} asked={asked}>
        {body => (
          <Content {...props} body={body} since={since} opened={opened} />
        )}
      </Answer>
    </div>
  );
}

function Content(
  props: ISectionProps & {
    body: IMonitor;
    since: Age;
    opened: ReturnType<typeof useOpened>;
  }
): React.JSX.Element {
  const { trans, body, since } = props;
  const [isOpen, setOpen] = props.opened;
  const parts: [string, string, React.ReactNode][] = [
    [
      'rules',
      trans.__('Rules'),
      <Rules key="" {...props} rules={body.rules} />
    ],
    [
      'alarms',
      trans.__('Alarms'),
      <Alarms key="" {...props} events={body.events} rules={body.rules} />
    ],
    [
      'traffic',
      trans.__('Traffic'),
      <Traffic key="" {...props} timeline={body.timeline} since={since} />
    ],
    [
      'drift',
      trans.__('Drift'),
      <Drift key="" {...props} reports={body.drift} />
    ],
    [
      'costs',
      trans.__('Costs'),
      <React.Fragment key="">
        <Budgets {...props} budgets={body.budgets} />
        <Costs {...props} costs={body.costs} since={since} />
      </React.Fragment>
    ]
  ];
  return (
    <>
      {parts.map(([id, title, content]) => (
        <Fold
          key={id}
          title={title}
          open={isOpen(id)}
          onOpen={open => setOpen(id, open)}
        >
          {content}
        </Fold>
      ))}
    </>
  );
}

/** How far back one looks; it holds for everything below. */
function Ages(props: {
  trans: TranslationBundle;
  since: Age;
  onSince: (since: Age) => void;
}): React.JSX.Element {
  const { trans, since, onSince } = props;
  const name = React.useId();
  const labels: Record<Age, string> = {
    '24h': trans.__('24 hours'),
    '7d': trans.__('7 days'),
    '30d': trans.__('30 days')
  };
  return (
    <fieldset className="jp-LLMOps-choice">
      <legend>{trans.__('The last')}</legend>
      {AGES.map(age => (
        <label key={age}>
          <input
            type="radio"
            name={name}
            value={age}
            checked={age === since}
            onChange={() => onSince(age)}
          />
          {labels[age]}
        </label>
      ))}
    </fieldset>
  );
}
