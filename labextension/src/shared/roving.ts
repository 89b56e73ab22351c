import * as React from 'react';

/** What a list and its items need so that the list is one stop for Tab. */
export interface IRoving<L extends HTMLElement> {
  list: React.RefObject<L>;
  onKeyDown: (event: React.KeyboardEvent) => void;
  item: (index: number) => {
    tabIndex: number;
    'data-index': number;
    onFocus: () => void;
    onClick: () => void;
  };
  /** Put the focus on an item. */
  focus: (index: number) => void;
}

/** Arrows, Home and End move among `count` items, Enter and the space bar choose one. */
export function useRoving<L extends HTMLElement>(
  count: number,
  choose: (index: number) => void,
  start = 0
): IRoving<L> {
  const list = React.useRef<L>(null);
  const [at, setAt] = React.useState(start);
  const here = Math.max(0, Math.min(at, count - 1));
  const focus = (index: number) => {
    setAt(index);
    list.current
      ?.querySelector<HTMLElement>(`[data-index="${Number(index)}"]`)
      ?.focus();
  };
  const onKeyDown = (event: React.KeyboardEvent) => {
    if (event.altKey || event.ctrlKey || event.metaKey || count === 0) {
      return;
    }
    const to: Record<string, number> = {
      ArrowDown: Math.min(here + 1, count - 1),
      ArrowUp: Math.max(here - 1, 0),
      Home: 0,
      End: count - 1
    };
    if (event.key in to) {
      event.preventDefault();
      focus(to[event.key]);
    } else if (event.key === 'Enter' || event.key === ' ') {
      event.preventDefault();
      choose(here);
    }
  };
  const item = (index: number) => ({
    tabIndex: index === here ? 0 : -1,
    'data-index': index,
    onFocus: () => setAt(index),
    onClick: () => choose(index)
  });
  return { list, onKeyDown, item, focus };
}
