import * as React from 'react';

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
            <dd>{value}</dd>
          </div>
        ))}
    </dl>
  );
}
