import * as React from 'react';

import { ITraffic } from '../api';
import { ISectionProps } from '../panel/sections';
import { Fold } from '../shared/fold';
import { Chart } from '../shared/line';
import { placeOf } from '../shared/place';
import { IPoint } from '../shared/points';
import { dollars, number, seconds } from '../shared/quantities';

/** Looks of series that mean the same in every chart: those of `chart.css`. */
const LOOK = { first: 0, second: 1, bad: 5 };

type Value = (bucket: ITraffic) => number | null;

/** Calls, errors, latency, tokens and cost over time. */
export function Traffic(
  props: ISectionProps & {
    timeline: readonly ITraffic[];
    since: string;
  }
): React.JSX.Element {
  const { trans, go, timeline, since } = props;
  const [more, setMore] = React.useState(false);
  const counts = React.useMemo(
    () => [
      line(trans.__('calls'), timeline, one => one.calls, LOOK.first),
      line(trans.__('errors'), timeline, one => one.errors, LOOK.bad)
    ],
    [trans, timeline]
  );
  const latency = React.useMemo(
    () => latencyOf(trans, timeline),
    [trans, timeline]
  );
  const errors = timeline.reduce((sum, one) => sum + one.errors, 0);
  if (!timeline.some(one => one.calls > 0)) {
    return (
      <p className="jp-LLMOps-quiet">
        {trans.__('No calls of models in this time.')}
      </p>
    );
  }
  const shared = { trans, xName: '', across: 'time' as const };
  return (
    <>
      <Chart
        {...shared}
        label={trans.__('Calls and errors')}
        series={counts}
        format={number}
        zero={true}
      />
      {errors > 0 && (
        <button
          className="jp-LLMOps-button"
          onClick={() => go('traces', placeOf({ status: 'error', since }))}
        >
          {trans._n(
            'Traces with errors (%2)',
            'Traces with errors (%2)',
            errors,
            number(errors)
          )}
        </button>
      )}
      <Chart
        {...shared}
        label={trans.__('Latency: median, and up to the 95th percentile')}
        series={latency}
        format={seconds}
        log={true}
        zero={true}
      />
      <Fold
        level={4}
        title={trans.__('Tokens and cost')}
        open={more}
        onOpen={setMore}
      >
        <Consumption {...props} />
      </Fold>
    </>
  );
}

function Consumption(
  props: ISectionProps & { timeline: readonly ITraffic[] }
): React.JSX.Element {
  const { trans, timeline } = props;
  const tokens = React.useMemo(
    () => [
      line(trans.__('read'), timeline, one => one.input_tokens, LOOK.first),
      line(trans.__('written'), timeline, one => one.output_tokens, LOOK.second)
    ],
    [trans, timeline]
  );
  const cost = React.useMemo(
    () => [line(trans.__('cost'), timeline, one => one.cost, LOOK.first)],
    [trans, timeline]
  );
  const shared = { trans, xName: '', across: 'time' as const, zero: true };
  return (
    <>
      <Chart
        {...shared}
        label={trans.__('Tokens')}
        series={tokens}
        format={number}
      />
      {timeline.some(one => one.cost !== null) && (
        <Chart
          {...shared}
          label={trans.__('Cost in dollars')}
          series={cost}
          format={dollars}
        />
      )}
    </>
  );
}

function latencyOf(
  trans: ISectionProps['trans'],
  timeline: readonly ITraffic[]
) {
  return [
    {
      name: trans.__('p50'),
      look: LOOK.first,
      area: true,
      points: timeline.map(one => ({
        x: Date.parse(one.at),
        y: one.latency_p50_s,
        low: one.latency_p50_s,
        high: one.latency_p95_s
      }))
    },
    line(trans.__('p95'), timeline, one => one.latency_p95_s, LOOK.second)
  ];
}

function line(
  name: string,
  timeline: readonly ITraffic[],
  value: Value,
  look: number
): { name: string; look: number; points: IPoint[] } {
  return {
    name,
    look,
    points: timeline.map(one => ({ x: Date.parse(one.at), y: value(one) }))
  };
}
