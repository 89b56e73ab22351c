import * as React from 'react';

/** How wide an element is, in pixels; `otherwise` until it is known. */
export function useWidth<E extends HTMLElement>(
  otherwise: number
): [React.RefObject<E>, number] {
  const element = React.useRef<E>(null);
  const [width, setWidth] = React.useState(otherwise);
  React.useLayoutEffect(() => {
    const node = element.current;
    if (node === null || typeof ResizeObserver === 'undefined') {
      return;
    }
    const observer = new ResizeObserver(entries => {
      const found = Math.floor(entries[entries.length - 1].contentRect.width);
      if (found > 0) {
        setWidth(found);
      }
    });
    observer.observe(node);
    return () => observer.disconnect();
  }, []);
  return [element, width];
}
