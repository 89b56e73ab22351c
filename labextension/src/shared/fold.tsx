import * as React from 'react';

/** A heading that opens what stands below it. What is closed is not made. */
export function Fold(props: {
  title: React.ReactNode;
  /** What is quiet beside the title, within the same button. */
  beside?: React.ReactNode;
  open: boolean;
  onOpen: (open: boolean) => void;
  level?: 3 | 4;
  /** Another object each time it is to be seen. */
  reveal?: object;
  children: React.ReactNode;
}): React.JSX.Element {
  const { title, beside, open, onOpen, level = 3, children } = props;
  const { reveal } = props;
  const button = React.useRef<HTMLButtonElement>(null);
  React.useEffect(() => {
    if (reveal) {
      show(button.current);
    }
  }, [reveal]);
  const id = React.useId();
  const Heading = `h${level}` as const;
  return (
    <div className="jp-LLMOps-fold" data-open={open}>
      <Heading>
        <button
          ref={button}
          aria-expanded={open}
          aria-controls={open ? id : undefined}
          onClick={() => onOpen(!open)}
        >
          <span className="jp-LLMOps-fold-mark" aria-hidden="true">
            {open ? '▾' : '▸'}
          </span>
          <span className="jp-LLMOps-fold-title">{title}</span> {beside}
        </button>
      </Heading>
      {open && (
        <div id={id} className="jp-LLMOps-fold-content">
          {children}
        </div>
      )}
    </div>
  );
}

/** Scroll to an element; the focus goes there from within the panel, and is taken from nothing else. */
function show(element: HTMLElement | null): void {
  const panel = element?.closest('.jp-LLMOps-section');
  if (panel?.contains(document.activeElement)) {
    element?.focus();
  }
  element?.scrollIntoView?.({ block: 'nearest' });
}

/** Which of several things are open, by their ids. */
export function useOpened(
  first: readonly string[] = []
): [(id: string) => boolean, (id: string, open: boolean) => void] {
  const [opened, setOpened] = React.useState<ReadonlySet<string>>(
    () => new Set(first)
  );
  const set = React.useCallback((id: string, open: boolean) => {
    setOpened(old => {
      const now = new Set(old);
      if (open) {
        now.add(id);
      } else {
        now.delete(id);
      }
      return now;
    });
  }, []);
  return [id => opened.has(id), set];
}
