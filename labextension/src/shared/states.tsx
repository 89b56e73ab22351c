import { TranslationBundle } from '@jupyterlab/translation';
import * as React from 'react';

import { ApiError } from '../request';

/** What a section shows where it has no rows. */
export function Empty(props: {
  text: string;
  advice?: string;
}): React.JSX.Element {
  return (
    <div className="jp-LLMOps-empty" role="status">
      <p>{props.text}</p>
      {props.advice && <code>{props.advice}</code>}
    </div>
  );
}

/** Grey lines where rows will stand; only seen when the server takes a while. */
export function Loading(props: {
  trans: TranslationBundle;
}): React.JSX.Element {
  const { trans } = props;
  return (
    <div className="jp-LLMOps-loading" role="status" aria-busy="true">
      <span className="jp-LLMOps-unseen">{trans.__('Loading…')}</span>
      <div />
      <div />
      <div />
    </div>
  );
}

/** What went wrong in the server's own words, and a way to try again. */
export function Failure(props: {
  trans: TranslationBundle;
  fault: unknown;
  again?: () => void;
}): React.JSX.Element {
  const { trans, fault, again } = props;
  return (
    <div className="jp-LLMOps-failure" role="alert">
      <p>{words(trans, fault)}</p>
      {again && (
        <button className="jp-LLMOps-button" onClick={again}>
          {trans.__('Try again')}
        </button>
      )}
    </div>
  );
}

/** A sentence for what was thrown. */
export function words(trans: TranslationBundle, fault: unknown): string {
  if (!(fault instanceof ApiError)) {
    return String((fault as Error)?.message ?? fault);
  }
  if (fault.kind === 'NoExtension') {
    return trans.__(
      'This server does not know llmops-jupyter. Install it where the server runs, or enable it: jupyter server extension enable llmops_jupyter'
    );
  }
  if (fault.kind === 'Unreachable') {
    return trans.__(
      'The Jupyter server does not answer. What is shown is old.'
    );
  }
  return fault.message;
}
