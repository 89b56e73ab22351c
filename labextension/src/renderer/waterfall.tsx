import { TranslationBundle } from '@jupyterlab/translation';
import * as React from 'react';

import { StatusBadge } from '../shared/standing';
import { beginning, visible } from '../shared/visible';
import { useWidth } from '../shared/width';

import { bar, INode, IScale, lasted, rows, scaleOf } from './tree';
import { useWindow } from './scrolled';
import { barWords, time } from './words';

const HEIGHT = 26;
/** Narrower than this, in pixels, bars stand below names. */
const NARROW = 440;
const COMPACT_HEIGHT = 38;
/** Levels that are indented; those below stand under the last. */
const MOST_LEVELS = 14;
const TICKS = [0, 0.25, 0.5, 0.75];
const NAME_MOST = 300;

interface IProps {
  nodes: readonly INode[];
  selected: INode | null;
  onSelect: (node: INode) => void;
  /** What the keyboard's Enter does: go to what is shown of the span. */
  onEnter: () => void;
  /** Only these, with what they hang from; null for all. */
  only: ReadonlySet<INode> | null;
  trans: TranslationBundle;
  /** Bars below names, however wide it is. */
  compact: boolean;
}

/** The tree of spans, each with its bar in time. A tree grid by the ARIA pattern; only rows that are seen are drawn. */
export function Waterfall(props: IProps): React.JSX.Element {
  const { nodes, selected, onSelect, only, trans } = props;
  const [closed, setClosed] = React.useState<ReadonlySet<string>>(new Set());
  const seen = React.useMemo(
    () => rows(nodes, closed, only),
    [nodes, closed, only]
  );
  const scale = React.useMemo(() => scaleOf(nodes), [nodes]);
  const box = React.useRef<HTMLDivElement>(null);
  const [whole, width] = useWidth<HTMLDivElement>(NARROW);
  const compact = props.compact || width < NARROW;
  const id = React.useId();
  const height = compact ? COMPACT_HEIGHT : HEIGHT;
  const { first, end, reveal } = useWindow(box, seen.length, height);
  const at = React.useMemo(
    () => (selected ? seen.indexOf(selected) : -1),
    [seen, selected]
  );

  React.useEffect(() => {
    if (at >= 0) {
      reveal(at);
    }
  }, [at, reveal]);

  const toggle = (node: INode, open: boolean) => {
    const now = new Set(closed);
    if (open) {
      now.delete(node.span.span_id);
    } else {
      now.add(node.span.span_id);
      if (selected && isBelow(selected, node)) {
        onSelect(node);
      }
    }
    setClosed(now);
  };
  const drawn = Array.from({ length: end - first }, (_, i) => first + i);
  if (at >= 0 && (at < first || at >= end)) {
    drawn.push(at); // what aria-activedescendant names must be there
  }
  return (
    <div
      className="jp-LLMOps-waterfall"
      role="treegrid"
      ref={whole}
      tabIndex={0}
      aria-label={trans.__('Spans')}
      aria-rowcount={seen.length + 1}
      aria-activedescendant={at >= 0 ? `${id}-${selected?.at}` : undefined}
      data-compact={compact || undefined}
      onKeyDown={event => {
        const step = { seen, at, closed, folds: only === null };
        if (pressed(event, step, props, toggle)) {
          event.preventDefault();
          event.stopPropagation();
        }
      }}
    >
      <Head scale={scale} trans={trans} />
      <div
        className="jp-LLMOps-waterfall-rows"
        role="rowgroup"
        ref={box}
        tabIndex={-1}
      >
        <div role="none" style={{ blockSize: seen.length * height }}>
          {drawn.map(place => (
            <Row
              key={seen[place].at}
              id={`${id}-${seen[place].at}`}
              node={seen[place]}
              place={place}
              height={height}
              selected={place === at}
              open={only !== null || !closed.has(seen[place].span.span_id)}
              scale={scale}
              trans={trans}
              onSelect={onSelect}
              onToggle={only ? null : toggle}
            />
          ))}
        </div>
      </div>
    </div>
  );
}

interface IStep {
  seen: readonly INode[];
  at: number;
  closed: ReadonlySet<string>;
  /** Whether rows can be opened and closed. */
  folds: boolean;
}

/** What a key does in the tree; whether it does anything. */
function pressed(
  event: React.KeyboardEvent<HTMLElement>,
  { seen, at, closed, folds }: IStep,
  { selected, onSelect, onEnter }: IProps,
  toggle: (node: INode, open: boolean) => void
): boolean {
  if (event.ctrlKey || event.metaKey || event.altKey || !seen.length) {
    return false;
  }
  const rtl = getComputedStyle(event.currentTarget).direction === 'rtl';
  const page = 15;
  const moves: Record<string, number> = {
    ArrowDown: at + 1,
    ArrowUp: at < 0 ? 0 : at - 1,
    PageDown: at + page,
    PageUp: at - page,
    Home: 0,
    End: seen.length - 1
  };
  if (event.key in moves) {
    const to = Math.min(seen.length - 1, Math.max(0, moves[event.key]));
    onSelect(seen[to]);
    return true;
  }
  if (!selected || at < 0) {
    return false;
  }
  const open = selected.below > 0 && !closed.has(selected.span.span_id);
  if (event.key === (rtl ? 'ArrowLeft' : 'ArrowRight')) {
    if (folds && selected.below > 0 && !open) {
      toggle(selected, true);
    } else if (open && seen[at + 1]?.parent === selected) {
      onSelect(seen[at + 1]);
    }
    return true;
  }
  if (event.key === (rtl ? 'ArrowRight' : 'ArrowLeft')) {
    if (folds && open) {
      toggle(selected, false);
    } else if (selected.parent) {
      onSelect(selected.parent);
    }
    return true;
  }
  if (event.key === 'Enter') {
    onEnter();
    return true;
  }
  return false;
}

function isBelow(node: INode, other: INode): boolean {
  return node.at > other.at && node.at <= other.at + other.below;
}

function Head(props: {
  scale: IScale;
  trans: TranslationBundle;
}): React.JSX.Element {
  const { scale, trans } = props;
  return (
    <div className="jp-LLMOps-waterfall-head" role="rowgroup">
      <div role="row" aria-rowindex={1}>
        <div role="columnheader">{trans.__('Span')}</div>
        <div role="columnheader" className="jp-LLMOps-number">
          {trans.__('Duration')}
        </div>
        <div role="columnheader" className="jp-LLMOps-ticks">
          <span className="jp-LLMOps-unseen">{trans.__('Time')}</span>
          {(scale.length > 0 ? TICKS : []).map(share => (
            <span
              key={share}
              aria-hidden="true"
              style={{ insetInlineStart: `${share * 100}%` }}
            >
              <bdi>{time((share * scale.length) / 1e9)}</bdi>
            </span>
          ))}
        </div>
      </div>
    </div>
  );
}

interface IRowProps {
  id: string;
  node: INode;
  place: number;
  height: number;
  selected: boolean;
  open: boolean;
  scale: IScale;
  trans: TranslationBundle;
  onSelect: (node: INode) => void;
  onToggle: ((node: INode, open: boolean) => void) | null;
}

function Row(props: IRowProps): React.JSX.Element {
  const { node, place, height, open, scale, trans, onSelect, onToggle } = props;
  const { span } = node;
  const name = beginning(visible(span.name), NAME_MOST);
  const indent = Math.min(node.level, MOST_LEVELS) - 1;
  return (
    <div
      className="jp-LLMOps-waterfall-row"
      role="row"
      id={props.id}
      aria-level={node.level}
      aria-posinset={node.place}
      aria-setsize={node.siblings}
      aria-rowindex={place + 2}
      aria-expanded={node.below > 0 ? open : undefined}
      aria-selected={props.selected}
      data-status={span.status}
      style={{ insetBlockStart: place * height, blockSize: height }}
      onClick={() => onSelect(node)}
      onDoubleClick={() => node.below > 0 && onToggle?.(node, !open)}
    >
      <div
        role="gridcell"
        className="jp-LLMOps-waterfall-name"
        style={{ paddingInlineStart: indent * 12 }}
      >
        <span
          className="jp-LLMOps-twisty"
          aria-hidden="true"
          onClick={event => {
            if (node.below > 0 && onToggle) {
              event.stopPropagation();
              onToggle(node, !open);
            }
          }}
        >
          {node.below > 0 ? (open ? '▾' : '▸') : ''}
        </span>
        {span.status !== 'ok' && (
          <StatusBadge trans={trans} status={span.status} />
        )}
        <bdi title={name}>{name || trans.__('(no name)')}</bdi>
        {node.below > 0 && !open && (
          <span className="jp-LLMOps-quiet">
            {trans._n('+%1 span', '+%1 spans', node.below)}
          </span>
        )}
      </div>
      <div role="gridcell" className="jp-LLMOps-number">
        <bdi>{time(lasted(span))}</bdi>
      </div>
      <div role="gridcell" className="jp-LLMOps-lane">
        <span className="jp-LLMOps-unseen">
          {barWords(span, scale.start, trans)}
        </span>
        <Bar node={node} scale={scale} />
      </div>
    </div>
  );
}

function Bar(props: { node: INode; scale: IScale }): React.JSX.Element | null {
  const { span } = props.node;
  const found = bar(span, props.scale);
  if (!found) {
    return null;
  }
  const { from, to, first } = found;
  const length = to - from;
  return (
    <div
      className="jp-LLMOps-bar"
      aria-hidden="true"
      data-status={span.status}
      data-kind={kindOf(span.op)}
      style={{
        insetInlineStart: `min(${from * 100}%, 100% - 3px)`,
        inlineSize: `max(${length * 100}%, 3px)`
      }}
    >
      {first !== null && length > 0 && (
        <div style={{ inlineSize: `${((first - from) / length) * 100}%` }} />
      )}
    </div>
  );
}

/** Which of the colours a span has. Its name says the same in words. */
function kindOf(op: string): string {
  switch (op) {
    case 'chat':
    case 'generate_content':
    case 'text_completion':
    case 'embeddings':
      return 'model';
    case 'retrieval':
    case 'packing':
    case 'check':
      return 'documents';
    case 'execute_tool':
      return 'tool';
    case 'run_guardrail':
      return 'guard';
    default:
      return 'other';
  }
}
