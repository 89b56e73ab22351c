import { ISpan } from '../api';

/** A span in its place. Nodes stand in the order of the tree, so that a node's descendants follow it. */
export interface INode {
  span: ISpan;
  parent: INode | null;
  /** Its place among all nodes. */
  at: number;
  /** From 1, as `aria-level` counts. */
  level: number;
  /** Its place among its siblings, from 1, and how many they are. */
  place: number;
  siblings: number;
  /** How many descendants follow it. */
  below: number;
}

/** The time that a waterfall spans, in nanoseconds. */
export interface IScale {
  start: number;
  length: number;
}

/**
 * The spans as a forest in the order of their start.
 *
 * A span whose parent is not there is a root. Where spans are each other's parents, the earliest becomes a root.
 */
export function forest(spans: readonly ISpan[]): INode[] {
  const parents = parentsOf(spans);
  const children = new Map<number, number[]>();
  parents.forEach((parent, at) => {
    const some = children.get(parent);
    if (some) {
      some.push(at);
    } else {
      children.set(parent, [at]);
    }
  });
  for (const some of children.values()) {
    some.sort((a, b) => order(spans, a, b));
  }
  return laidOut(spans, children);
}

const NONE = -1;

function order(spans: readonly ISpan[], a: number, b: number): number {
  const difference = spans[a].start_ns - spans[b].start_ns;
  return Number.isFinite(difference) && difference !== 0 ? difference : a - b;
}

/** The place of each span's parent, without rings. */
function parentsOf(spans: readonly ISpan[]): number[] {
  const known = new Map<string, number>();
  spans.forEach((span, at) => {
    if (!known.has(span.span_id)) {
      known.set(span.span_id, at);
    }
  });
  const parents = spans.map((span, at) => {
    const parent =
      span.parent_id === null ? NONE : (known.get(span.parent_id) ?? NONE);
    return parent === at ? NONE : parent;
  });
  const seen = new Array<number>(spans.length).fill(0);
  for (let from = 0; from < spans.length; from += 1) {
    let at = from;
    while (at !== NONE && seen[at] === 0) {
      seen[at] = from + 1;
      at = parents[at];
    }
    if (at !== NONE && seen[at] === from + 1) {
      parents[earliest(spans, parents, at)] = NONE;
    }
  }
  return parents;
}

function earliest(
  spans: readonly ISpan[],
  parents: readonly number[],
  from: number
): number {
  let found = from;
  for (let at = parents[from]; at !== from; at = parents[at]) {
    if (order(spans, at, found) < 0) {
      found = at;
    }
  }
  return found;
}

function laidOut(
  spans: readonly ISpan[],
  children: ReadonlyMap<number, number[]>
): INode[] {
  const nodes: INode[] = [];
  const waiting: [number, INode | null, number, number][] = [];
  const wait = (of: number, parent: INode | null) => {
    const some = children.get(of) ?? [];
    for (let i = some.length - 1; i >= 0; i -= 1) {
      waiting.push([some[i], parent, i + 1, some.length]);
    }
  };
  wait(NONE, null);
  for (let next = waiting.pop(); next; next = waiting.pop()) {
    const [at, parent, place, siblings] = next;
    const level = (parent?.level ?? 0) + 1;
    const node = {
      ...{ span: spans[at], parent, at: nodes.length },
      ...{ level, place, siblings, below: 0 }
    };
    nodes.push(node);
    wait(at, node);
  }
  for (let i = nodes.length - 1; i >= 0; i -= 1) {
    const { parent, below } = nodes[i];
    if (parent) {
      parent.below += below + 1;
    }
  }
  return nodes;
}

/**
 * The nodes that are seen: none below those whose spans' ids are in `closed`; if `only` is given, those in it and what
 * they hang from.
 */
export function rows(
  nodes: readonly INode[],
  closed: ReadonlySet<string>,
  only: ReadonlySet<INode> | null = null
): INode[] {
  if (only) {
    const kept = new Set<INode>();
    for (const node of only) {
      for (let up: INode | null = node; up && !kept.has(up); up = up.parent) {
        kept.add(up);
      }
    }
    return nodes.filter(node => kept.has(node));
  }
  const found: INode[] = [];
  for (let at = 0; at < nodes.length; at += 1) {
    const node = nodes[at];
    found.push(node);
    if (closed.has(node.span.span_id)) {
      at += node.below;
    }
  }
  return found;
}

/** A node and all below it. */
export function subtree(nodes: readonly INode[], node: INode): INode[] {
  return nodes.slice(node.at, node.at + node.below + 1);
}

/** From the first to the last moment that any span knows of. */
export function scaleOf(nodes: readonly INode[]): IScale {
  let start = Infinity;
  let end = -Infinity;
  for (const { span } of nodes) {
    for (const time of [span.start_ns, span.end_ns, span.first_token_ns]) {
      if (time !== null && Number.isFinite(time)) {
        start = Math.min(start, time);
        end = Math.max(end, time);
      }
    }
  }
  return Number.isFinite(start)
    ? { start, length: end - start }
    : { start: 0, length: 0 };
}

/** Where a span lies in a scale, as shares; null where its start is not known. An open span reaches the end. */
export function bar(
  span: ISpan,
  scale: IScale
): { from: number; to: number; first: number | null } | null {
  if (!Number.isFinite(span.start_ns) || scale.length <= 0) {
    return Number.isFinite(span.start_ns)
      ? { from: 0, to: 1, first: null }
      : null;
  }
  const share = (time: number) =>
    Math.min(1, Math.max(0, (time - scale.start) / scale.length));
  const from = share(span.start_ns);
  const to = Math.max(from, span.end_ns === null ? 1 : share(span.end_ns));
  const first =
    span.first_token_ns === null ? null : share(span.first_token_ns);
  return {
    from,
    to,
    first: first !== null && first >= from && first <= to ? first : null
  };
}

/** Seconds that a span took; null while it runs, and where its clock went backwards. */
export function lasted(span: ISpan): number | null {
  const seconds =
    span.duration_s ??
    (span.end_ns === null ? NaN : (span.end_ns - span.start_ns) / 1e9);
  return seconds >= 0 ? seconds : null;
}

/** Seconds from a span's start to its first token. */
export function waited(span: ISpan): number | null {
  const seconds =
    span.first_token_ns === null
      ? NaN
      : (span.first_token_ns - span.start_ns) / 1e9;
  return seconds >= 0 ? seconds : null;
}

/**
 * A figure of a node with all below it: its own, or else the sum of the uppermost ones that have it; null if none has.
 *
 * A span that calls models has the sum of their figures itself, so theirs are not added again.
 */
export function total(
  nodes: readonly INode[],
  node: INode,
  figure: (span: ISpan) => number | null
): number | null {
  let sum: number | null = null;
  const last = node.at + node.below;
  for (let at = node.at; at <= last; at += 1) {
    const value = figure(nodes[at].span);
    if (value !== null) {
      sum = (sum ?? 0) + value;
      at += nodes[at].below;
    }
  }
  return sum;
}
