import { TranslationBundle } from '@jupyterlab/translation';
import * as React from 'react';

import { IChangedRow } from '../api';
import { IHost } from '../host';
import { IPiece, words } from '../shared/difference';
import { LongText } from '../shared/long';
import { Pager, usePages } from '../shared/pager';
import { number } from '../shared/quantities';
import { beginning, visible } from '../shared/visible';
import { useWidth } from '../shared/width';
import { IMeasure, valueText } from './figures';

const ROWS = 25;
/** From this width on, in pixels, the answers stand in columns of their own. */
const WIDE = 560;
const CELL = 160;

type Side = 'all' | 'a' | 'b';

/** The rows on which the two runs have different scores, those that got worse first. */
export function Changed(props: {
  trans: TranslationBundle;
  host: IHost;
  rows: readonly IChangedRow[];
  /** How many there are in all, where `rows` are only some of them. */
  count: number;
  measure: IMeasure;
  names: readonly [string, string];
}): React.JSX.Element {
  const { trans, rows, count } = props;
  const [side, setSide] = React.useState<Side>('all');
  const [element, width] = useWidth<HTMLElement>(0);
  const found = React.useMemo(
    () => rows.filter(row => side === 'all' || row.better === side),
    [rows, side]
  );
  const paged = usePages(found, ROWS, [side]);
  const better = {
    a: rows.filter(row => row.better === 'a').length,
    b: rows.filter(row => row.better === 'b').length
  };
  return (
    <section aria-label={trans.__('Changed rows')} ref={element}>
      <h4>
        {count > rows.length
          ? trans.__(
              '%1 of %2 changed rows',
              number(rows.length),
              number(count)
            )
          : trans._n(
              '%2 changed row',
              '%2 changed rows',
              rows.length,
              number(rows.length)
            )}
      </h4>
      {rows.length === 0 ? (
        <p className="jp-LLMOps-quiet">
          {trans.__('Every row has the same score in both runs.')}
        </p>
      ) : (
        <>
          <select
            aria-label={trans.__('Which rows')}
            value={side}
            onChange={event => setSide(event.target.value as Side)}
          >
            <option value="all">
              {trans.__('All (%1)', number(rows.length))}
            </option>
            <option value="a">
              {trans.__('A is better (%1)', number(better.a))}
            </option>
            <option value="b">
              {trans.__('B is better (%1)', number(better.b))}
            </option>
          </select>
          <Table {...props} rows={paged.rows} wide={width >= WIDE} />
          <Pager
            trans={trans}
            paged={paged}
            label={trans.__('Pages of changed rows')}
          />
        </>
      )}
    </section>
  );
}

interface ITableProps {
  trans: TranslationBundle;
  host: IHost;
  rows: readonly IChangedRow[];
  measure: IMeasure;
  names: readonly [string, string];
  wide: boolean;
}

function Table(props: ITableProps): React.JSX.Element {
  const { trans, rows, names, wide } = props;
  return (
    <table className="jp-LLMOps-columns jp-LLMOps-changed">
      <caption className="jp-LLMOps-unseen">
        {trans.__(
          'Rows on which A (%1) and B (%2) differ',
          visible(names[0]),
          visible(names[1])
        )}
      </caption>
      <thead>
        <tr>
          <th scope="col">{trans.__('Row')}</th>
          <th scope="col">{trans.__('Better')}</th>
          <th scope="col">{trans.__('A → B')}</th>
          {wide && (
            <>
              <th scope="col">{trans.__('Expected')}</th>
              <th scope="col">{trans.__('A')}</th>
              <th scope="col">{trans.__('B')}</th>
            </>
          )}
        </tr>
      </thead>
      <tbody>
        {rows.map((row, i) => (
          <Row key={`${row.row} ${i}`} {...props} row={row} />
        ))}
      </tbody>
    </table>
  );
}

function Row(props: ITableProps & { row: IChangedRow }): React.JSX.Element {
  const { trans, row, measure, wide } = props;
  const [open, setOpen] = React.useState(false);
  return (
    <>
      <tr data-better={row.better} data-preview={!wide && !open}>
        <th scope="row">
          <button
            className="jp-LLMOps-link"
            aria-expanded={open}
            title={visible(row.row)}
            onClick={() => setOpen(!open)}
          >
            <span aria-hidden="true">{open ? '▾' : '▸'}</span>{' '}
            {beginning(visible(row.row), 24)}
          </button>
        </th>
        <td>
          <span
            className="jp-LLMOps-badge"
            data-state={row.better === 'b' ? 'ok' : 'alert'}
          >
            {row.better === 'b' ? trans.__('B') : trans.__('A')}
          </span>
        </td>
        <td className="jp-LLMOps-number">
          {valueText(row.a_score, measure)} → {valueText(row.b_score, measure)}
        </td>
        {wide &&
          [row.expected, row.a, row.b].map((text, i) => (
            <td key={i} dir="auto">
              {beginning(visible(text), CELL)}
            </td>
          ))}
      </tr>
      {!wide && !open && (
        <tr className="jp-LLMOps-changed-preview">
          <td colSpan={3} dir="auto">
            {beginning(visible(row.b || row.input), CELL)}
          </td>
        </tr>
      )}
      {open && (
        <tr>
          <td colSpan={wide ? 6 : 3}>
            <Texts {...props} />
          </td>
        </tr>
      )}
    </>
  );
}

/** Question, expected answer and both answers of a row, whole; what the answers do not share is marked. */
function Texts(props: ITableProps & { row: IChangedRow }): React.JSX.Element {
  const { trans, host, row } = props;
  const marks = React.useMemo(() => words(row.a, row.b), [row.a, row.b]);
  const parts = [
    { label: trans.__('Input'), text: row.input },
    { label: trans.__('Expected'), text: row.expected },
    { label: trans.__('A'), text: row.a, pieces: marks?.a, trace: row.a_trace },
    { label: trans.__('B'), text: row.b, pieces: marks?.b, trace: row.b_trace }
  ];
  return (
    <div className="jp-LLMOps-changed-texts">
      {parts.map(({ label, text, pieces, trace }) => (
        <div key={label}>
          <h5>
            <span>{label}</span>
            {trace && (
              <button
                className="jp-LLMOps-link"
                aria-label={trans.__('Trace of %1', label)}
                onClick={() => host.openTrace(trace)}
              >
                {trans.__('trace')}
              </button>
            )}
          </h5>
          {text ? (
            <LongText
              trans={trans}
              text={text}
              code
              draw={shown => <Marked text={shown} pieces={pieces} />}
            />
          ) : (
            <p className="jp-LLMOps-quiet">{trans.__('nothing')}</p>
          )}
        </div>
      ))}
    </div>
  );
}

/** The beginning of a text by its pieces, as far as `text` goes. */
function Marked(props: {
  text: string;
  pieces?: readonly IPiece[];
}): React.JSX.Element {
  const { text, pieces } = props;
  if (!pieces) {
    return <>{visible(text)}</>;
  }
  let left = text.length;
  return (
    <>
      {pieces.map((piece, i) => {
        const shown = piece.text.slice(0, Math.max(0, left));
        left -= piece.text.length;
        if (!shown) {
          return null;
        }
        return piece.marked ? (
          <mark key={i} className="jp-LLMOps-changed-mark">
            {visible(shown)}
          </mark>
        ) : (
          <React.Fragment key={i}>{visible(shown)}</React.Fragment>
        );
      })}
    </>
  );
}
