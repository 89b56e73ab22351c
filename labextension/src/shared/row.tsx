import * as React from 'react';

import { ago, when } from './quantities';

/** One thing of a list: what it is, what can be done with it beside that, and what there is to say below. */
export function Row(props: {
  head: React.ReactNode;
  actions?: React.ReactNode;
  children?: React.ReactNode;
}): React.JSX.Element {
  return (
    <div className="jp-LLMOps-row">
      <div className="jp-LLMOps-rowhead">
        <div>{props.head}</div>
        {props.actions && (
          <div className="jp-LLMOps-actions">{props.actions}</div>
        )}
      </div>
      {props.children}
    </div>
  );
}

/** How long ago something was; the moment itself when one points at it. */
export function Ago(props: { at: string }): React.JSX.Element {
  const { at } = props;
  return (
    <time className="jp-LLMOps-quiet" dateTime={at} title={when(at)}>
      {ago(at)}
    </time>
  );
}
