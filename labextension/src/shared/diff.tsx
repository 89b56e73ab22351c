import { TranslationBundle } from '@jupyterlab/translation';
import * as React from 'react';

import { IDiff, IDiffLine } from '../api';
import { counts, drawn, IDiffRow, IPairOfRows, sideBySide } from './difference';
import { Pager, usePages } from './pager';
import { number } from './quantities';
import { visible } from './visible';
import { useWidth } from './width';

/** From this width on, in pixels, old and new fit beside each other. */
const WIDE = 640;
const ROWS = 300;

/**
 * What changed from one text to another, part by part.
 *
 * `whole` is the new text; where it fits a part, stretches that the server left out can be unfolded.
 */
export function Diff(props: {
  trans: TranslationBundle;
  diff: IDiff;
  whole?: string;
}): React.JSX.Element {
  const { trans, diff, whole } = props;
  const [element, width] = useWidth<HTMLDivElement>(0);
  const [unified, setUnified] = React.useState(false);
  const changed = diff.parts.filter(({ lines }) => {
    const { added, removed } = counts(lines);
    return added + removed > 0;
  });
  const beside = width >= WIDE && !unified;
  return (
    <div className="jp-LLMOps-diff" ref={element}>
      {changed.length === 0 && (
        <p role="status">
          {trans.__(
            'No line differs between %1 and %2.',
            visible(diff.a),
            visible(diff.b)
          )}
        </p>
      )}
      {changed.length > 0 && width >= WIDE && (
        <button
          className="jp-LLMOps-link"
          aria-pressed={beside}
          onClick={() => setUnified(!unified)}
        >
          {trans.__('Side by side')}
        </button>
      )}
      {changed.map((part, i) => (
        <Part
          key={i}
          trans={trans}
          names={[diff.a, diff.b]}
          title={part.title}
          lines={part.lines}
          whole={whole}
          beside={beside}
        />
      ))}
    </div>
  );
}

function Part(props: {
  trans: TranslationBundle;
  names: [string, string];
  title: string;
  lines: IDiffLine[];
  whole?: string;
  beside: boolean;
}): React.JSX.Element {
  const { trans, names, title, lines, whole, beside } = props;
  const [open, setOpen] = React.useState<ReadonlySet<number>>(new Set());
  const rows = React.useMemo(() => drawn(lines, whole), [lines, whole]);
  const shown = rows.flatMap((row, place) =>
    open.has(place) && row.hidden ? row.hidden.map(plain) : [{ ...row, place }]
  );
  const pairs: (IPairOfRows | IDiffRow)[] = beside ? sideBySide(shown) : shown;
  const paged = usePages(pairs, ROWS, [beside]);
  const { added, removed } = counts(lines);
  const unfold = (row: IDiffRow & { place?: number }) =>
    row.hidden && row.place !== undefined
      ? () => setOpen(new Set([...open, row.place as number]))
      : null;
  return (
    <section className="jp-LLMOps-diff-part">
      <h5>
        <span>{visible(title)}</span>{' '}
        <span className="jp-LLMOps-quiet">
          {trans.__('%1 added, %2 removed', number(added), number(removed))}
        </span>
      </h5>
      <div className="jp-LLMOps-diff-scroll">
        <table
          aria-label={trans.__(
            'Changes of %1 from %2 to %3',
            visible(title),
            visible(names[0]),
            visible(names[1])
          )}
        >
          {beside && (
            <thead>
              <tr>
                <th colSpan={3} scope="col">
                  {visible(names[0])}
                </th>
                <th colSpan={3} scope="col">
                  {visible(names[1])}
                </th>
              </tr>
            </thead>
          )}
          <tbody>
            {paged.rows.map((row, i) => {
              const key = paged.from + i;
              const one = 'pieces' in row ? row : row.a;
              if (one?.kind === 'gap') {
                return (
                  <Gap
                    key={key}
                    trans={trans}
                    row={one}
                    columns={beside ? 6 : 4}
                    unfold={unfold(one)}
                  />
                );
              }
              return 'pieces' in row ? (
                <Line key={key} trans={trans} row={row} />
              ) : (
                <tr key={key}>
                  <Side trans={trans} row={row.a} line={row.a?.a} />
                  <Side trans={trans} row={row.b} line={row.b?.b} />
                </tr>
              );
            })}
          </tbody>
        </table>
      </div>
      <Pager trans={trans} paged={paged} label={trans.__('Lines')} />
    </section>
  );
}

/** A row for an equal line that was folded away. */
function plain(line: IDiffLine): IDiffRow & { place?: number } {
  return {
    kind: 'same',
    pieces: [{ text: line.text, marked: false }],
    a: line.a,
    b: line.b,
    hidden: null,
    count: null
  };
}

function Gap(props: {
  trans: TranslationBundle;
  row: IDiffRow;
  columns: number;
  unfold: (() => void) | null;
}): React.JSX.Element {
  const { trans, row, columns, unfold } = props;
  const text =
    row.count === null
      ? trans.__('Equal lines')
      : trans._n('%1 equal line', '%1 equal lines', row.count);
  return (
    <tr className="jp-LLMOps-diff-gap">
      <td colSpan={columns}>
        {unfold ? (
          <button
            className="jp-LLMOps-link"
            aria-label={trans.__('Show %1', text)}
            onClick={unfold}
          >
            ⋯ {text}
          </button>
        ) : (
          <span>⋯ {text}</span>
        )}
      </td>
    </tr>
  );
}

/** A line with the numbers that it has on both sides. */
function Line(props: {
  trans: TranslationBundle;
  row: IDiffRow;
}): React.JSX.Element {
  const { trans, row } = props;
  return (
    <tr data-kind={row.kind}>
      <td className="jp-LLMOps-diff-number">{row.a}</td>
      <td className="jp-LLMOps-diff-number">{row.b}</td>
      <Sign trans={trans} kind={row.kind} />
      <Text row={row} />
    </tr>
  );
}

/** One side of a line. */
function Side(props: {
  trans: TranslationBundle;
  row: IDiffRow | null;
  line: number | null | undefined;
}): React.JSX.Element {
  const { trans, row, line } = props;
  if (row === null) {
    return <td className="jp-LLMOps-diff-none" colSpan={3} />;
  }
  return (
    <>
      <td className="jp-LLMOps-diff-number">{line}</td>
      <Sign trans={trans} kind={row.kind} />
      <Text row={row} />
    </>
  );
}

/** A sign for the eye and a word for the ear. */
function Sign(props: {
  trans: TranslationBundle;
  kind: IDiffRow['kind'];
}): React.JSX.Element {
  const { trans, kind } = props;
  const words = {
    added: trans.__('added'),
    removed: trans.__('removed'),
    same: '',
    gap: ''
  };
  const signs = { added: '+', removed: '−', same: '', gap: '' };
  return (
    <td className="jp-LLMOps-diff-sign" data-kind={kind}>
      <span aria-hidden="true">{signs[kind]}</span>
      {words[kind] && <span className="jp-LLMOps-unseen">{words[kind]}</span>}
    </td>
  );
}

function Text(props: { row: IDiffRow }): React.JSX.Element {
  const { row } = props;
  const Mark = row.kind === 'added' ? 'ins' : 'del';
  return (
    <td className="jp-LLMOps-diff-text" data-kind={row.kind} dir="auto">
      {row.pieces.map((piece, i) =>
        piece.marked ? (
          <Mark key={i}>{visible(piece.text)}</Mark>
        ) : (
          <span key={i}>{visible(piece.text)}</span>
        )
      )}
    </td>
  );
}
