import { TranslationBundle } from '@jupyterlab/translation';
import * as React from 'react';

import { IFigure, ISpan } from '../api';
import { number, quantity } from '../shared/quantities';
import { beginning, visible } from '../shared/visible';

import { lasted, waited } from './tree';
import { figureName, sourceWord, time } from './words';

/** Characters of a name, which may be as long as a text. */
const NAME_MOST = 200;

interface IFact {
  name: string;
  value: string;
  /** How it was come by; '' for what is simply known. */
  source: IFigure['source'] | '';
  note?: string;
}

/** Times, tokens, cost and resources of a span, each with how it was come by. */
export function Figures(props: {
  span: ISpan;
  trans: TranslationBundle;
}): React.JSX.Element {
  const { span, trans } = props;
  return (
    <dl className="jp-LLMOps-figures">
      {[...known(span, trans), ...counted(span, trans)].map((fact, at) => (
        <div key={at}>
          <dt>{fact.name}</dt>
          <dd>
            <bdi>{fact.value}</bdi>
            {fact.source && (
              <span className="jp-LLMOps-quiet" title={fact.note || undefined}>
                {' '}
                {sourceWord(fact.source, trans)}
              </span>
            )}
          </dd>
        </div>
      ))}
    </dl>
  );
}

/** What it was that ran. */
function known(span: ISpan, trans: TranslationBundle): IFact[] {
  const facts: [string, string | null][] = [
    [trans.__('Model'), span.model],
    [trans.__('Prompt'), span.prompt],
    [trans.__('Session'), span.session],
    [trans.__('Seed'), span.seed === null ? null : String(span.seed)]
  ];
  return facts
    .filter((fact): fact is [string, string] => Boolean(fact[1]))
    .map(([name, value]) => ({
      name,
      value: beginning(visible(value), NAME_MOST),
      source: ''
    }));
}

/** What it took. */
function counted(span: ISpan, trans: TranslationBundle): IFact[] {
  const facts: [string, string | null, IFigure['source'], string?][] = [];
  const took = lasted(span);
  const first = waited(span);
  const add = (
    name: string,
    value: number | null,
    written: (value: number) => string,
    source: IFigure['source'] = 'measured'
  ) => facts.push([name, value === null ? null : written(value), source]);
  add(trans.__('Duration'), took, time);
  add(trans.__('First token'), first, time);
  add(trans.__('Tokens read'), span.input_tokens, number);
  add(trans.__('Of these cached'), span.cached_tokens || null, number);
  add(trans.__('Tokens written'), span.output_tokens, number);
  add(trans.__('Speed'), speed(span), value =>
    trans.__('%1 tokens/s', number(value, 1))
  );
  add(trans.__('Cost'), span.cost, value => quantity(value, '$'), 'estimated');
  for (const [name, figure] of Object.entries(span.resources ?? {})) {
    facts.push([
      figureName(name, trans),
      quantity(figure.value, figure.unit),
      figure.source,
      figure.note
    ]);
  }
  return facts
    .filter(
      (fact): fact is [string, string, IFigure['source'], string?] => !!fact[1]
    )
    .map(([name, value, source, note]) => ({
      name: visible(name),
      value: visible(value),
      source,
      note: note && visible(note)
    }));
}

/** Tokens a second after the first one, where there are enough of them to say. */
function speed(span: ISpan): number | null {
  const took = lasted(span);
  const first = waited(span);
  if (took === null || first === null || !(took > first)) {
    return null;
  }
  const tokens = (span.output_tokens ?? 0) - 1;
  return tokens > 0 ? tokens / (took - first) : null;
}
