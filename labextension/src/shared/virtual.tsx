import * as React from 'react';

import { IWindow, revealed, stepped, windowOf } from './window';

/** What stands at the top of the list: a row, and how many pixels of it have been scrolled past. */
export interface IAnchor {
  key: string;
  offset: number;
}

/** Rows that are drawn beyond the view on both sides: so many at least, else as often as the view holds. */
const OVERSCAN = 8;
const VIEWS = 2;
/** How high the list is taken to be where it cannot be measured. */
const VIEW = 400;

export interface IVirtualListProps {
  /** What the list is, for screen readers. */
  label: string;
  /** Rows that are known. */
  count: number;
  /** Rows that there are; null while this is unknown. */
  total: number | null;
  /** Differs from before whenever rows came, went or moved. */
  revision: number;
  keyOf: (index: number) => string;
  /** The place of a row; -1 if it is not there. */
  indexOf: (key: string) => number;
  row: (index: number, active: boolean) => React.ReactNode;
  /** How high a row is, until the first one has been measured. */
  estimate: number;
  /** The row that the keyboard is on. */
  active: string | null;
  onActive: (key: string) => void;
  onOpen: (key: string) => void;
  /** Rows that are marked; with it several can be. */
  isMarked?: (key: string) => boolean;
  /** Mark a row or take its mark away; `range`: and all from the last one that was marked. */
  onMark?: (key: string, range: boolean) => void;
  /** Keys that are not the list's own. */
  onKeyDown?: (event: React.KeyboardEvent) => void;
  /** Rows in view. */
  onWindow?: (window: IWindow) => void;
  /** What stands at the top now; null at the very top. */
  onAnchor?: (anchor: IAnchor | null) => void;
  /** What stood at the top when the list was left. */
  anchor?: IAnchor | null;
  /** Whether it has the focus from the beginning. */
  focus?: boolean;
}

export interface IVirtualListHandle {
  scrollToTop: () => void;
  focus: () => void;
}

/**
 * A list of any length of which only the rows in view are in the document.
 *
 * Rows are equally high: the first one is measured, so that they may be styled freely. What is in view stays where it
 * is when rows come or go above it; at the very top, new rows push the others down. One stop for Tab; arrows, Home, End
 * and the page keys move, Enter opens, Space marks, Shift with arrows marks as it goes.
 */
export const VirtualList = React.forwardRef<
  IVirtualListHandle,
  IVirtualListProps
>((props, ref) => {
  const { count, revision, indexOf, keyOf, active } = props;
  const box = React.useRef<HTMLDivElement>(null);
  const id = React.useId();
  const { height, view } = useSizes(box, props.estimate, count > 0);
  const { window, onScroll } = useScroll(box, props, height, view);
  React.useImperativeHandle(ref, () => ({
    scrollToTop: () => {
      if (box.current) {
        box.current.scrollTop = 0;
        onScroll();
      }
    },
    focus: () => box.current?.focus()
  }));
  const { onWindow, focus } = props;
  const { first, end } = windowOf(
    window.first * height,
    (window.end - window.first) * height,
    height,
    count
  );
  React.useEffect(() => {
    onWindow?.({ first, end });
  }, [onWindow, first, end, revision]);
  React.useEffect(() => {
    if (focus) {
      box.current?.focus({ preventScroll: true });
    }
  }, [focus]);

  const over = Math.max(OVERSCAN, VIEWS * (end - first));
  const drawn = range(Math.max(0, first - over), Math.min(count, end + over));
  const at = active === null ? -1 : indexOf(active);
  if (at >= 0 && (at < drawn[0] || at > drawn[drawn.length - 1])) {
    drawn.push(at); // What aria-activedescendant names has to be in the document.
  }
  return (
    <div
      ref={box}
      className="jp-LLMOps-virtual"
      role="listbox"
      tabIndex={0}
      aria-label={props.label}
      aria-multiselectable={props.onMark ? true : undefined}
      aria-activedescendant={at >= 0 ? `${id}${active}` : undefined}
      onScroll={onScroll}
      onKeyDown={event => keyed(event, props, box.current, height, view)}
    >
      <div
        className="jp-LLMOps-virtual-rows"
        role="presentation"
        style={{ blockSize: count * height }}
      >
        {drawn.map(index => {
          const key = keyOf(index);
          return (
            <Option
              key={key}
              id={`${id}${key}`}
              index={index}
              top={index * height}
              list={props}
              active={key === active}
            />
          );
        })}
      </div>
    </div>
  );
});
VirtualList.displayName = 'VirtualList';

function Option(props: {
  id: string;
  index: number;
  top: number;
  list: IVirtualListProps;
  active: boolean;
}): React.JSX.Element {
  const { id, index, top, list, active } = props;
  const key = list.keyOf(index);
  return (
    <div
      id={id}
      className="jp-LLMOps-virtual-row"
      role="option"
      aria-selected={list.isMarked ? list.isMarked(key) : active}
      aria-setsize={list.total ?? -1}
      aria-posinset={index + 1}
      data-active={active || undefined}
      style={{ insetBlockStart: top }}
      onClick={event => {
        list.onActive(key);
        if (list.onMark && (event.shiftKey || event.ctrlKey || event.metaKey)) {
          list.onMark(key, event.shiftKey);
        } else {
          list.onOpen(key);
        }
      }}
    >
      {list.row(index, active)}
    </div>
  );
}

function range(from: number, to: number): number[] {
  return Array.from({ length: Math.max(0, to - from) }, (_, i) => from + i);
}

/** How high a row and the view are, as long as the list is there. */
function useSizes(
  box: React.RefObject<HTMLDivElement>,
  estimate: number,
  filled: boolean
): { height: number; view: number } {
  const [sizes, setSizes] = React.useState({ height: estimate, view: VIEW });
  React.useLayoutEffect(() => {
    const list = box.current;
    if (!list) {
      return;
    }
    const first = () => list.querySelector('.jp-LLMOps-virtual-row');
    const measure = () => {
      const height = first()?.getBoundingClientRect().height ?? 0;
      const view = list.clientHeight;
      setSizes(old => {
        const now = {
          height: height > 0 ? height : old.height,
          view: view > 0 ? view : old.view
        };
        const same =
          Math.abs(now.height - old.height) < 0.1 && now.view === old.view;
        return same ? old : now;
      });
    };
    measure();
    if (typeof ResizeObserver === 'undefined') {
      return;
    }
    const observer = new ResizeObserver(measure);
    observer.observe(list);
    const row = first();
    if (row) {
      observer.observe(row); // It grows with the size of the letters.
    }
    return () => observer.disconnect();
  }, [box, filled]);
  return sizes;
}

/** Which rows are in view, kept in place when the rows change. */
function useScroll(
  box: React.RefObject<HTMLDivElement>,
  props: IVirtualListProps,
  height: number,
  view: number
): { window: IWindow; onScroll: () => void } {
  const { count, revision } = props;
  const latest = React.useRef(props);
  latest.current = props;
  const anchor = React.useRef(props.anchor ?? null);
  const [window, setWindow] = React.useState<IWindow>(() =>
    windowOf(0, view, height, count)
  );
  const look = React.useCallback(() => {
    const list = box.current;
    if (!list) {
      return;
    }
    const now = windowOf(list.scrollTop, view, height, latest.current.count);
    setWindow(old =>
      old.first === now.first && old.end === now.end ? old : now
    );
  }, [box, height, view]);
  const onScroll = React.useCallback(() => {
    const list = box.current;
    const { count, keyOf, onAnchor } = latest.current;
    if (!list || count === 0) {
      return;
    }
    const index = Math.min(count - 1, Math.floor(list.scrollTop / height));
    anchor.current =
      list.scrollTop <= 0
        ? null
        : { key: keyOf(index), offset: list.scrollTop - index * height };
    onAnchor?.(anchor.current);
    look();
  }, [box, height, look]);

  React.useLayoutEffect(() => {
    const list = box.current;
    const held = anchor.current;
    const index = held ? latest.current.indexOf(held.key) : -1;
    if (list && held && index >= 0) {
      const top = index * height + Math.min(held.offset, height);
      if (Math.abs(list.scrollTop - top) > 0.5) {
        list.scrollTop = top;
      }
    }
    look();
  }, [box, height, look, count, revision]);
  return { window, onScroll };
}

function keyed(
  event: React.KeyboardEvent,
  list: IVirtualListProps,
  box: HTMLDivElement | null,
  height: number,
  view: number
): void {
  const { active, count } = list;
  if (event.target !== event.currentTarget || !box) {
    return;
  }
  const from = active === null ? -1 : list.indexOf(active);
  const plain = !event.altKey && !event.ctrlKey && !event.metaKey;
  const to = plain
    ? stepped(event.key, from, count, Math.floor(view / height))
    : null;
  if (to !== null) {
    const key = list.keyOf(to);
    box.scrollTop = revealed(to, box.scrollTop, view, height);
    if (event.shiftKey && list.onMark) {
      if (active !== null && from >= 0 && !list.isMarked?.(active)) {
        list.onMark(active, false);
      }
      list.onMark(key, true);
    }
    list.onActive(key);
  } else if (event.key === 'Enter' && plain && active !== null && from >= 0) {
    list.onOpen(active);
  } else if (event.key === ' ' && plain && active !== null && list.onMark) {
    list.onMark(active, event.shiftKey);
  } else {
    list.onKeyDown?.(event);
    return;
  }
  event.preventDefault();
  event.stopPropagation();
}
