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
  // Whether somebody moved here within the section; else the focus stays where it is.
  const [moved, setMoved] = React.useState(false);
  // The pair that was looked at last is still chosen in the list.
  const [chosen, setChosen] = React.useState<{ a?: string; b?: string }>({});
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
          chosen={chosen}
          onChoose={setChosen}
          focus={moved}
          onCompare={(a, b) => {
            setMoved(true);
            go('evaluations', itemOf({ a, b, metric: '' }));
          }}
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
          focus={moved}
          onBack={() => {
            setMoved(true);
            setChosen({ a: pair.a, b: pair.b });
            go('evaluations');
          }}
        />
      )}
    </div>
  );
}
