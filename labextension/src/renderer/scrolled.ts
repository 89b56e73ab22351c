import * as React from 'react';

import { IWindow, revealed, windowOf } from '../shared/window';

/** Rows beyond what is seen, so that a quick scroll shows no gaps. */
const BEYOND = 12;
/** Pixels that are assumed before the browser has laid anything out. */
const ASSUMED = 600;

/** Which rows of a scrolled box are to be drawn: from `first` to before `end`. */
export interface IScrolled extends IWindow {
  /** Scroll so that a row is seen. */
  reveal: (row: number) => void;
}

/** The rows of `box` that are seen, of `count` rows of `height` pixels each. */
export function useWindow(
  box: React.RefObject<HTMLElement>,
  count: number,
  height: number
): IScrolled {
  const [seen, setSeen] = React.useState({ top: 0, size: ASSUMED });
  React.useLayoutEffect(() => {
    const element = box.current;
    if (!element) {
      return;
    }
    const measure = () => {
      const top = element.scrollTop;
      const size = element.clientHeight || ASSUMED;
      setSeen(old =>
        old.top === top && old.size === size ? old : { top, size }
      );
    };
    measure();
    element.addEventListener('scroll', measure, { passive: true });
    const observer =
      typeof ResizeObserver === 'undefined'
        ? null
        : new ResizeObserver(measure);
    observer?.observe(element);
    return () => {
      element.removeEventListener('scroll', measure);
      observer?.disconnect();
    };
  }, [box]);
  const reveal = React.useCallback(
    (row: number) => {
      const element = box.current;
      if (!element) {
        return;
      }
      const size = element.clientHeight || ASSUMED;
      element.scrollTop = revealed(row, element.scrollTop, size, height);
    },
    [box, height]
  );
  const top = Math.min(seen.top, Math.max(0, count * height - seen.size));
  return {
    ...windowOf(top, seen.size, height, count, BEYOND),
    reveal
  };
}
