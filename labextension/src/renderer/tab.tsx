import { ReactWidget } from '@jupyterlab/ui-components';
import { TranslationBundle } from '@jupyterlab/translation';
import { IDisposable } from '@lumino/disposable';
import { Message } from '@lumino/messaging';
import * as React from 'react';

import { Client, ITrace, Topic } from '../api';
import { Boundary } from '../shared/boundary';
import { useClient } from '../shared/asked';
import { Failure, Loading } from '../shared/states';
import { Watched } from '../watched';
import { Opening, OpenCell } from './output';
import { visible } from '../shared/visible';

import { TraceView } from './view';

/** A trace that has ended can still be scored; it is asked for again no more often than this. */
const SETTLED_MS = 5000;
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
    const name = visible(root?.prompt || root?.name || '').slice(0, NAME_MOST);
    if (name) {
      this.title.label = name;
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

interface IFollowed {
  trace: ITrace | null;
  fault: unknown;
  again: () => void;
}

/** A trace, asked for again when there is news of traces. */
export function useTrace(
  watched: Watched,
  workspace: string,
  traceId: string
): IFollowed {
  const shown = useClient(watched);
  const client = React.useMemo(
    () => (workspace ? new Client(watched.settings, workspace) : shown),
    [watched, workspace, shown]
  );
  const [state, setState] = React.useState<Omit<IFollowed, 'again'>>({
    trace: null,
    fault: null
  });
  const [, redraw] = React.useReducer((n: number) => n + 1, 0);
  React.useEffect(() => {
    watched.changed.connect(redraw);
    return () => {
      watched.changed.disconnect(redraw);
    };
  }, [watched]);
  const asking = React.useRef({ turn: 0, at: 0, later: 0, settled: false });

  const ask = React.useCallback(async () => {
    if (client === null) {
      return;
    }
    const mine = (asking.current.turn += 1);
    asking.current.at = Date.now();
    try {
      const trace = await client.trace(traceId);
      if (mine === asking.current.turn) {
        asking.current.settled = trace.spans.every(s => s.status !== 'open');
        setState({ trace, fault: null });
      }
    } catch (fault) {
      if (mine === asking.current.turn) {
        setState(old => ({ ...old, fault }));
      }
    }
  }, [client, traceId]);

  React.useEffect(() => {
    const now = asking.current;
    void ask();
    const heard = (_: Watched, news: ReadonlySet<Topic>) => {
      if (!news.has('traces') || now.later) {
        return;
      }
      const wait = now.settled ? now.at + SETTLED_MS - Date.now() : 0;
      now.later = window.setTimeout(
        () => {
          now.later = 0;
          void ask();
        },
        Math.max(0, wait)
      );
    };
    watched.news.connect(heard);
    return () => {
      watched.news.disconnect(heard);
      window.clearTimeout(now.later);
      now.later = 0;
      now.turn += 1;
    };
  }, [watched, ask]);

  return {
    trace: state.trace,
    fault: client ? state.fault : watched.fault,
    again: () => void (client ? ask() : watched.refresh())
  };
}
