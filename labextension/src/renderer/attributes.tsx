import { TranslationBundle } from '@jupyterlab/translation';
import * as React from 'react';

import { ISpan } from '../api';
import { number } from '../shared/quantities';
import { visible } from '../shared/visible';
import { json } from './read';
import { Value } from './text';

/** Rows that are shown at once; a search finds the others. */
const MOST = 200;

/** All that a span keeps, as a table that can be searched. */
export function Attributes(props: {
  span: ISpan;
  trans: TranslationBundle;
}): React.JSX.Element {
  const { span, trans } = props;
  const [open, setOpen] = React.useState(false);
  const count = Object.keys(span.attributes).length;
  return (
    <details
      className="jp-LLMOps-attributes"
      open={open}
      onToggle={event => setOpen(event.currentTarget.open)}
    >
      <summary>{trans.__('Attributes (%1)', number(count))}</summary>
      {open && <Table span={span} trans={trans} />}
    </details>
  );
}

function Table(props: {
  span: ISpan;
  trans: TranslationBundle;
}): React.JSX.Element {
  const { span, trans } = props;
  const [asked, setAsked] = React.useState('');
  const all = React.useMemo(() => entries(span), [span]);
  const wanted = asked.trim().toLowerCase();
  const found = wanted
    ? all.filter(one => one.searched().includes(wanted))
    : all;
  return (
    <>
      <input
        type="search"
        value={asked}
        placeholder={trans.__('Search attributes')}
        aria-label={trans.__('Search attributes')}
        onChange={event => setAsked(event.target.value)}
      />
      <div className="jp-LLMOps-quiet" role="status">
        {wanted
          ? trans.__('%1 of %2', number(found.length), number(all.length))
          : ''}
      </div>
      <table>
        <tbody>
          {found.slice(0, MOST).map(({ key, name, value }) => (
            <tr key={key}>
              <th scope="row">
                <bdi>{visible(name)}</bdi>
              </th>
              <td>
                <Value value={value} trans={trans} />
              </td>
            </tr>
          ))}
        </tbody>
      </table>
      {found.length > MOST && (
        <p className="jp-LLMOps-quiet">
          {trans.__(
            'The first %1 are shown. Search for the others.',
            number(MOST)
          )}
        </p>
      )}
    </>
  );
}

interface IEntry {
  key: string;
  name: string;
  value: unknown;
  /** Name and value in small letters, made when they are first looked through. */
  searched: () => string;
}

/** What the span's columns hold, then its attributes by name. */
function entries(span: ISpan): IEntry[] {
  const columns: [string, unknown][] = [
    ['span_id', span.span_id],
    ['parent_id', span.parent_id],
    ['op', span.op],
    ['kind', span.kind],
    ['provider', span.provider],
    ['model', span.model],
    ['model_digest', span.model_digest],
    ['session', span.session],
    ['seed', span.seed],
    ['schema_url', span.schema_url]
  ];
  const given = Object.entries(span.attributes).sort(([a], [b]) =>
    a < b ? -1 : 1
  );
  const held = columns.filter(([, value]) => value !== null && value !== '');
  return [
    ...given.map(([name, value]) => entry(`attribute ${name}`, name, value)),
    ...held.map(([name, value]) => entry(`column ${name}`, name, value))
  ];
}

function entry(key: string, name: string, value: unknown): IEntry {
  let made: string | null = null;
  return {
    ...{ key, name, value },
    searched: () => (made ??= `${name} ${json(value)}`.toLowerCase())
  };
}
