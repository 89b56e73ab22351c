import { TranslationBundle } from '@jupyterlab/translation';
import * as React from 'react';

import { IHost } from '../host';
import { insert } from './errands';

/** A button that puts a magic line into the notebook, where a person runs it. */
export function Action(props: {
  host: IHost;
  trans: TranslationBundle;
  label: string;
  /** What is put there; null if a name cannot stand in a line. */
  source: string | null;
}): React.JSX.Element {
  const { host, trans, label, source } = props;
  return (
    <button
      className="jp-LLMOps-button"
      title={trans.__('Insert a cell: %1', source?.split('\n', 1)[0] ?? '')}
      onClick={() => void insert(host, trans, source)}
    >
      {label}
    </button>
  );
}
