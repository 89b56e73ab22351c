import * as React from 'react';

/**
 * How much of something is used, or done.
 *
 * @param share from 0; above 1 the bar is full. The text says how much it is.
 */
export function Bar(props: {
  label: string;
  share: number;
  text: string;
  state?: string;
  role?: 'meter' | 'progressbar';
}): React.JSX.Element {
  const { label, text, state = 'ok', role = 'meter' } = props;
  const share = Number.isFinite(props.share) ? Math.max(0, props.share) : 0;
  const percent = Math.round(Math.min(1, share) * 100);
  return (
    <div
      className="jp-LLMOps-share"
      data-state={state}
      role={role}
      aria-label={label}
      aria-valuemin={0}
      aria-valuemax={100}
      aria-valuenow={percent}
      aria-valuetext={text}
    >
      <div style={{ inlineSize: `${percent}%` }} />
    </div>
  );
}
