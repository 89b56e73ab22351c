import * as React from 'react';

import { ISectionProps } from '../panel/sections';
import { Failure, Loading } from '../shared/states';
import { Comparison } from './comparison';
import { useKnownRuns } from './known';
import { itemOf, pairOf } from './place';
import { Runs } from './runs';

/** Evaluation runs; `item` is '' for all, or 12..15 or 12..15:METRIC for a comparison of two. */
export default function Section(props: ISectionProps): React.JSX.Element {
  const { watched, host, trans, item, go } = props;
  const known = useKnownRuns(props);
  const pair = pairOf(item);
  return (
    <div className="jp-LLMOps-evaluations">
      {known.fault !== null && (
        <Failure trans={trans} fault={known.fault} again={known.again} />
      )}
      {known.runs === null && known.fault === null && <Loading trans={trans} />}
      {known.runs !== null && pair === null && (
        <Runs
          trans={trans}
          runs={known.runs}
          known={known}
          onCompare={(a, b) => go('evaluations', itemOf({ a, b, metric: '' }))}
        />
      )}
      {known.runs !== null && pair !== null && (
        <Comparison
          watched={watched}
          host={host}
          trans={trans}
          runs={known.runs}
          pair={pair}
          onPair={wanted => go('evaluations', itemOf(wanted))}
          onBack={() => go('evaluations')}
        />
      )}
    </div>
  );
}
