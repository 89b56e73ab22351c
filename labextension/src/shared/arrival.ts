import * as React from 'react';

/** Put the focus on an element when it appears, if `wanted` then: somebody came by a button that is gone. */
export function useArrival<E extends HTMLElement>(
  wanted: boolean
): React.RefObject<E> {
  const element = React.useRef<E>(null);
  const first = React.useRef(wanted);
  React.useEffect(() => {
    if (first.current) {
      element.current?.focus();
      first.current = false;
    }
  }, []);
  return element;
}
