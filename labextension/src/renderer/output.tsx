import { ReactWidget } from '@jupyterlab/ui-components';
import { TranslationBundle } from '@jupyterlab/translation';
import * as React from 'react';

import { Boundary } from '../shared/boundary';
import { readTrace } from './read';
import { TraceView } from './view';

/** Goes to a cell; answers a sentence if that could not be done, else ''. */
export type OpenCell = (notebook: string, cellId: string) => Promise<string>;

/** A trace in the output of a cell. It needs no server. */
export class TraceOutput extends ReactWidget {
  constructor(
    readonly trans: TranslationBundle,
    readonly openCell: OpenCell | null
  ) {
    super();
    this.addClass('jp-LLMOps');
    this.addClass('jp-LLMOps-output');
  }

  /** Show what a notebook holds, whatever that is. */
  display(data: unknown): void {
    this._data = data;
    this.update();
  }

  protected render(): React.JSX.Element {
    return (
      <Shown data={this._data} trans={this.trans} openCell={this.openCell} />
    );
  }

  private _data: unknown = null;
}

function Shown(props: {
  data: unknown;
  trans: TranslationBundle;
  openCell: OpenCell | null;
}): React.JSX.Element {
  const { data, trans, openCell } = props;
  const trace = React.useMemo(() => readTrace(data), [data]);
  if (!trace) {
    return (
      <p role="status">
        {trans.__(
          'This output is no trace of llmops-jupyter. Run the cell again, or show the trace with %1.',
          '%trace show'
        )}
      </p>
    );
  }
  return (
    <Boundary trans={trans}>
      <Opening trans={trans} openCell={openCell}>
        {open => <TraceView trace={trace} trans={trans} onOpenCell={open} />}
      </Opening>
    </Boundary>
  );
}

/** Says why a cell could not be opened, where it was asked for. */
export function Opening(props: {
  trans: TranslationBundle;
  openCell: OpenCell | null;
  children: (
    open: ((notebook: string, cellId: string) => void) | undefined
  ) => React.ReactNode;
}): React.JSX.Element {
  const { openCell, children } = props;
  const [said, setSaid] = React.useState('');
  const open =
    openCell === null
      ? undefined
      : (notebook: string, cellId: string) => {
          setSaid('');
          void openCell(notebook, cellId).then(setSaid);
        };
  return (
    <>
      {said && (
        <p className="jp-LLMOps-failure" role="alert">
          {said}
        </p>
      )}
      {children(open)}
    </>
  );
}
