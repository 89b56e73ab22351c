import { TranslationBundle } from '@jupyterlab/translation';
import * as React from 'react';

import { LongText } from '../shared/long';
import { json } from './read';

/** Any value: text as it is, the rest as JSON. */
export function Value(props: {
  value: unknown;
  trans: TranslationBundle;
}): React.JSX.Element {
  const { value, trans } = props;
  const text = React.useMemo(
    () => (typeof value === 'string' ? value : json(value)),
    [value]
  );
  return <LongText text={text} trans={trans} code />;
}

/** A part of what is shown, under a heading. */
export function Part(
  props: React.PropsWithChildren<{ title: string; note?: string }>
): React.JSX.Element {
  return (
    <section className="jp-LLMOps-part" aria-label={props.title}>
      <h4>
        {props.title}
        {props.note && <span className="jp-LLMOps-quiet"> {props.note}</span>}
      </h4>
      {props.children}
    </section>
  );
}
