import * as React from 'react';

/** A heading that opens what stands below it. What is closed is not made. */
export function Fold(props: {
  title: React.ReactNode;
  /** What is quiet beside the title, within the same button. */
  beside?: React.ReactNode;
  open: boolean;
  onOpen: (open: boolean) => void;
  level?: 3 | 4;
  children: React.ReactNode;
}): React.JSX.Element {
  const { title, beside, open, onOpen, level = 3, children } = props;
  const id = React.useId();
  const Heading = `h${level}` as const;
  return (
    <div className="jp-LLMOps-fold" data-open={open}>
      <Heading>
        <button
          aria-expanded={open}
          aria-controls={open ? id : undefined}
          onClick={() => onOpen(!open)}
        >
          <span className="jp-LLMOps-fold-title">{title}</span>
          {beside}
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
