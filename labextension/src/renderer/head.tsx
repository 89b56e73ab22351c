import { TranslationBundle } from '@jupyterlab/translation';
import * as React from 'react';

import { ITrace } from '../api';
import { fileName } from '../notebooks/place';
import { number, quantity, when } from '../shared/quantities';
import { StatusBadge } from '../shared/standing';
import { beginning, visible } from '../shared/visible';

import { INode, lasted, scaleOf, total } from './tree';
import { time } from './words';

/** Characters of the notebook's name that are shown; all of it is told where one points at it. */
const NAME_MOST = 60;

/** What the whole trace is: state, time, tokens, cost, where it was made; and the way to its errors. */
export function Head(props: {
  trace: ITrace;
  nodes: readonly INode[];
  selected: INode;
  trans: TranslationBundle;
  onSelect: (node: INode) => void;
  onOpenCell?: (notebook: string, cellId: string) => void;
}): React.JSX.Element {
  const { trace, nodes, selected, trans, onSelect, onOpenCell } = props;
  const wrong = React.useMemo(
    () => nodes.filter(({ span }) => span.status === 'error'),
    [nodes]
  );
  const facts = React.useMemo(
    () => factsOf(trace, nodes, trans),
    [trace, nodes, trans]
  );
  return (
    <div className="jp-LLMOps-trace-head">
      <StatusBadge trans={trans} status={trace.status} />
      {facts.map((fact, at) => (
        <bdi key={at}>{fact}</bdi>
      ))}
      {wrong.length > 0 && (
        <button
          className="jp-LLMOps-button"
          onClick={() =>
            onSelect(wrong.find(node => node.at > selected.at) ?? wrong[0])
          }
        >
          {trans._n('Go to the error', 'Next of %1 errors', wrong.length)}
        </button>
      )}
      <Origin trace={trace} trans={trans} onOpenCell={onOpenCell} />
      <span className="jp-LLMOps-quiet jp-LLMOps-trace-id">
        <bdi>{visible(trace.trace_id.slice(0, 64))}</bdi>
      </span>
    </div>
  );
}

function factsOf(
  trace: ITrace,
  nodes: readonly INode[],
  trans: TranslationBundle
): string[] {
  const root = nodes[0];
  const facts = [when(trace.started_at)];
  const took = lasted(root.span) ?? (scaleOf(nodes).length / 1e9 || null);
  facts.push(time(took));
  const sum = (figure: Parameters<typeof total>[2]) => {
    const found = nodes
      .filter(node => node.parent === null)
      .map(node => total(nodes, node, figure))
      .filter((value): value is number => value !== null);
    return found.length ? found.reduce((a, b) => a + b, 0) : null;
  };
  const read = sum(span => span.input_tokens);
  const written = sum(span => span.output_tokens);
  if (read !== null || written !== null) {
    facts.push(trans.__('%1 → %2 tokens', number(read), number(written)));
  }
  const cost = sum(span => span.cost);
  if (cost !== null) {
    facts.push(trans.__('%1 (estimated)', quantity(cost, '$')));
  }
  facts.push(trans._n('%1 span', '%1 spans', nodes.length));
  return facts;
}

/** The notebook and the cell that made the trace. */
function Origin(props: {
  trace: ITrace;
  trans: TranslationBundle;
  onOpenCell?: (notebook: string, cellId: string) => void;
}): React.JSX.Element | null {
  const { trace, trans, onOpenCell } = props;
  const { notebook, cell_id: cell, execution_count: count } = trace;
  if (!notebook) {
    return null;
  }
  const name = beginning(visible(fileName(notebook)), NAME_MOST);
  const place =
    count === null ? name : trans.__('%1, cell [%2]', name, number(count));
  return onOpenCell && cell ? (
    <button
      className="jp-LLMOps-button"
      title={visible(notebook)}
      onClick={() => onOpenCell(notebook, cell)}
    >
      {trans.__('Open %1', place)}
    </button>
  ) : (
    <span title={visible(notebook)}>
      <bdi>{place}</bdi>
    </span>
  );
}
