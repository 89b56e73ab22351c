import { TranslationBundle } from '@jupyterlab/translation';
import * as React from 'react';

import { ITrace } from '../api';
import { Empty } from '../shared/states';
import { Head } from './head';
import { readTrace } from './read';
import { SpanDetails } from './span';
import { forest, INode } from './tree';
import { Waterfall } from './waterfall';

import '../../style/renderer.css';

/** Traces with fewer spans are seen at a glance and need no search. */
const FEW = 12;

export interface ITraceViewProps {
  trace: ITrace;
  trans: TranslationBundle;
  /** For narrow places, such as the side panel. */
  compact?: boolean;
  /** Go to the cell that made the trace; without it the place is only named. */
  onOpenCell?: (notebook: string, cellId: string) => void;
}

/**
 * A whole trace: its spans as a tree with their bars in time, and the details of the one that is selected.
 *
 * The trace may come from anywhere: what is malformed in it is left out, and all of it is shown as text.
 */
export function TraceView(props: ITraceViewProps): React.JSX.Element {
  const { trans, compact = false, onOpenCell } = props;
  const trace = React.useMemo(() => readTrace(props.trace), [props.trace]);
  const nodes = React.useMemo(() => forest(trace?.spans ?? []), [trace]);
  const [chosen, setChosen] = React.useState('');
  const [asked, setAsked] = React.useState('');
  const details = React.useRef<HTMLDivElement>(null);
  const selected = React.useMemo(() => pick(nodes, chosen), [nodes, chosen]);
  const only = React.useMemo(() => matching(nodes, asked), [nodes, asked]);
  if (!trace || !selected) {
    return <Empty text={trans.__('This trace has no spans.')} />;
  }
  const select = (node: INode) => setChosen(node.span.span_id);
  return (
    <div className="jp-LLMOps-trace" data-compact={compact || undefined}>
      <Head
        trace={trace}
        nodes={nodes}
        selected={selected}
        trans={trans}
        onSelect={select}
        onOpenCell={onOpenCell}
      />
      <div className="jp-LLMOps-trace-parts">
        <div className="jp-LLMOps-trace-tree">
          {nodes.length > FEW && (
            <div className="jp-LLMOps-trace-search">
              <input
                type="search"
                value={asked}
                placeholder={trans.__('Find spans')}
                aria-label={trans.__('Find spans by name, kind or state')}
                onChange={event => setAsked(event.target.value)}
              />
              <span role="status" className="jp-LLMOps-quiet">
                {only
                  ? trans._n('%1 span found', '%1 spans found', only.size)
                  : ''}
              </span>
            </div>
          )}
          <Waterfall
            nodes={nodes}
            selected={selected}
            onSelect={select}
            onEnter={() => details.current?.focus()}
            only={only}
            trans={trans}
            compact={compact}
          />
        </div>
        <SpanDetails
          key={selected.span.span_id}
          ref={details}
          node={selected}
          nodes={nodes}
          scores={trace.scores}
          trans={trans}
        />
      </div>
    </div>
  );
}

/** The node of a span's id, else the first. */
function pick(nodes: readonly INode[], spanId: string): INode | null {
  return nodes.find(node => node.span.span_id === spanId) ?? nodes[0] ?? null;
}

/** The nodes that a search means; null for no search. */
function matching(
  nodes: readonly INode[],
  asked: string
): ReadonlySet<INode> | null {
  const wanted = asked.trim().toLowerCase();
  if (!wanted) {
    return null;
  }
  const found = nodes.filter(({ span }) =>
    [span.name, span.op, span.status, span.model ?? '', span.error_type ?? '']
      .join(' ')
      .toLowerCase()
      .includes(wanted)
  );
  return new Set(found);
}
