import * as React from 'react';

/** Something wide or long that is scrolled within, with the keyboard too. */
export function Scroll(props: {
  label: string;
  children: React.ReactNode;
}): React.JSX.Element {
  return (
    <div
      className="jp-LLMOps-scroll"
      role="group"
      aria-label={props.label}
      tabIndex={0}
    >
      {props.children}
    </div>
  );
}
