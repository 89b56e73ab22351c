import * as React from 'react';

import { visible } from './visible';

/** Names with their values. What is null is left out. */
export function Facts(props: {
  facts: readonly (readonly [string, React.ReactNode])[];
}): React.JSX.Element {
  return (
    <dl className="jp-LLMOps-facts">
      {props.facts
        .filter(([, value]) => value !== null && value !== '')
        .map(([name, value]) => (
          <div key={name}>
            <dt>{name}</dt>
            <dd>
              <bdi>{typeof value === 'string' ? visible(value) : value}</bdi>
            </dd>
          </div>
        ))}
    </dl>
  );
}
