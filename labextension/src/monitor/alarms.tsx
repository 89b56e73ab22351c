import * as React from 'react';

import { IAlarm, IRule } from '../api';
import { ISectionProps } from '../panel/sections';
import { Bounded } from '../shared/bounded';
import { LongText } from '../shared/long';
import { placeOf } from '../shared/place';
import { Name } from '../shared/plain';
import { Ago, Row } from '../shared/row';
import { Standing } from '../shared/standing';
import { stateWords } from './rules';

const DAY_MS = 86_400_000;

/** What rules have told: from which state they came to which, newest first. */
export function Alarms(
  props: ISectionProps & {
    events: readonly IAlarm[];
    rules: readonly IRule[];
  }
): React.JSX.Element {
  const { trans, events, rules } = props;
  const watching = new Map(rules.map(rule => [rule.name, rule]));
  if (events.length === 0) {
    return (
      <p className="jp-LLMOps-quiet">{trans.__('No alarms in this time.')}</p>
    );
  }
  const ordered = events
    .map((event, place) => ({ event, place }))
    .sort((a, b) => Date.parse(b.event.at) - Date.parse(a.event.at));
  return (
    <Bounded
      trans={trans}
      label={trans.__('Alarms')}
      items={ordered}
      id={({ event, place }) => `${event.at} ${event.rule} ${place}`}
      first={10}
      render={({ event }) => (
        <Alarm {...props} event={event} rule={watching.get(event.rule)} />
      )}
    />
  );
}

function Alarm(
  props: ISectionProps & { event: IAlarm; rule: IRule | undefined }
): React.JSX.Element {
  const { trans, go, event, rule } = props;
  const place = tracesBefore(event, rule);
  return (
    <Row
      head={
        <>
          <Name text={event.rule} />{' '}
          <span className="jp-LLMOps-quiet">
            {stateWords(trans, event.from)} <span aria-hidden="true">→</span>
            <span className="jp-LLMOps-unseen">{trans.__('to')}</span>
          </span>{' '}
          <Standing state={event.to} text={stateWords(trans, event.to)} />{' '}
          <Ago at={event.at} />
        </>
      }
      actions={
        place && (
          <button
            className="jp-LLMOps-button"
            onClick={() => go('traces', place)}
          >
            {trans.__('Traces')}
            <span className="jp-LLMOps-unseen">
              {' '}
              {trans.__('of the day before it')}
            </span>
          </button>
        )
      }
    >
      <LongText trans={trans} text={event.words} characters={200} />
    </Row>
  );
}

/** The traces that a rule watched in the day before an alarm; '' where it watches something else, or is gone. */
export function tracesBefore(event: IAlarm, rule: IRule | undefined): string {
  const at = Date.parse(event.at);
  if (!rule?.traces || Number.isNaN(at)) {
    return '';
  }
  const iso = (time: number) => new Date(time).toISOString();
  const time = placeOf({ since: iso(at - DAY_MS), until: iso(at) });
  return `${rule.traces} ${time}`;
}
