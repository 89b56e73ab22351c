import { ReactWidget } from '@jupyterlab/ui-components';
import { TranslationBundle } from '@jupyterlab/translation';
import { IDisposable } from '@lumino/disposable';
import { Message } from '@lumino/messaging';
import * as React from 'react';

import { ITrace } from '../api';
import { Boundary } from '../shared/boundary';
import { Failure, Loading } from '../shared/states';
import { beginning, visible } from '../shared/visible';
import { Watched } from '../watched';
import { useTrace } from './followed';
import { Opening, OpenCell } from './output';
import { TraceView } from './view';

const NAME_MOST = 40;

/** A trace in the main area. It follows the trace while it is seen. */
export class TraceTab extends ReactWidget {
  /** `workspace` is that of the trace, '' for the one that is shown. */
  constructor(
    readonly watched: Watched,
    readonly trans: TranslationBundle,
    readonly traceId: string,
    readonly workspace: string,
    readonly openCell: OpenCell
  ) {
    super();
    this.addClass('jp-LLMOps');
    this.addClass('jp-LLMOps-tab');
    this.title.label = trans.__('Trace %1', visible(traceId.slice(0, 8)));
    this.title.caption = trans.__('Trace %1', visible(traceId));
  }

  dispose(): void {
    this._rest();
    super.dispose();
  }

  protected onAfterShow(message: Message): void {
    super.onAfterShow(message);
    this._watch();
  }

  protected onAfterAttach(message: Message): void {
    super.onAfterAttach(message);
    if (this.isVisible) {
      this._watch();
    }
  }

  protected onBeforeHide(message: Message): void {
    this._rest();
    super.onBeforeHide(message);
  }

  protected onBeforeDetach(message: Message): void {
    this._rest();
    super.onBeforeDetach(message);
  }

  protected render(): React.JSX.Element {
    return (
      <Boundary trans={this.trans}>
        <Followed
          watched={this.watched}
          trans={this.trans}
          traceId={this.traceId}
          workspace={this.workspace}
          openCell={this.openCell}
          onTrace={trace => this._name(trace)}
        />
      </Boundary>
    );
  }

  private _watch(): void {
    this._look ??= this.watched.look();
  }

  private _rest(): void {
    this._look?.dispose();
    this._look = null;
  }

  private _name(trace: ITrace): void {
    const root = trace.spans.find(span => span.parent_id === null);
    const name = visible(root?.prompt || root?.name || '');
    if (name) {
      this.title.label = beginning(name, NAME_MOST);
    }
  }

  private _look: IDisposable | null = null;
}

function Followed(props: {
  watched: Watched;
  trans: TranslationBundle;
  traceId: string;
  workspace: string;
  openCell: OpenCell;
  onTrace: (trace: ITrace) => void;
}): React.JSX.Element {
  const { watched, trans, traceId, workspace, openCell } = props;
  const { trace, fault, again } = useTrace(watched, workspace, traceId);
  const named = React.useRef(props.onTrace);
  named.current = props.onTrace;
  React.useEffect(() => {
    if (trace) {
      named.current(trace);
    }
  }, [trace]);
  return (
    <>
      {fault !== null && <Failure trans={trans} fault={fault} again={again} />}
      {trace ? (
        <Opening trans={trans} openCell={openCell}>
          {open => <TraceView trace={trace} trans={trans} onOpenCell={open} />}
        </Opening>
      ) : (
        fault === null && <Loading trans={trans} />
      )}
    </>
  );
}
