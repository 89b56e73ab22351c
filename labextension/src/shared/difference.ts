import { IDiffLine } from '../api';

/** Equal lines that stay beside a change, and how many must be hidden for a fold to be worth it. */
const CONTEXT = 3;
const LEAST_HIDDEN = 4;
/** Beyond so many pairs of words no words are marked: the lines say enough, and time is short. */
const MOST_PAIRS = 1_000_000;
/** Two stretches with less than this share in common are different texts, and no words are marked. */
const LEAST_COMMON = 0.25;

/** A stretch of a line; `marked` is what differs from the line's other side. */
export interface IPiece {
  text: string;
  marked: boolean;
}

/** A line to draw. `hidden` are the equal lines that a gap stands for, null where nobody has them. */
export interface IDiffRow {
  kind: IDiffLine['kind'];
  pieces: IPiece[];
  a: number | null;
  b: number | null;
  hidden: IDiffLine[] | null;
  /** How many equal lines a gap stands for; null if that is not known. */
  count: number | null;
}

/** The two sides of a line, side by side; a gap stands on both. */
export interface IPairOfRows {
  a: IDiffRow | null;
  b: IDiffRow | null;
}

/**
 * The lines of a difference as they are drawn: words marked, long equal stretches folded.
 *
 * @param lines - as the server gave them, with or without gaps.
 * @param whole - the text of the new side, by which the server's gaps can be unfolded; it is used only if it fits.
 */
export function drawn(lines: readonly IDiffLine[], whole?: string): IDiffRow[] {
  return marked(folded(opened(lines, whole)));
}

/** Rows with old and new beside each other. */
export function sideBySide(rows: readonly IDiffRow[]): IPairOfRows[] {
  const pairs: IPairOfRows[] = [];
  let removed: IDiffRow[] = [];
  let added: IDiffRow[] = [];
  const close = () => {
    for (let i = 0; i < Math.max(removed.length, added.length); i += 1) {
      pairs.push({ a: removed[i] ?? null, b: added[i] ?? null });
    }
    removed = [];
    added = [];
  };
  for (const row of rows) {
    if (row.kind === 'removed') {
      if (added.length) {
        close();
      }
      removed.push(row);
    } else if (row.kind === 'added') {
      added.push(row);
    } else {
      close();
      pairs.push({ a: row, b: row });
    }
  }
  close();
  return pairs;
}

/** How many lines were added and removed. */
export function counts(lines: readonly IDiffLine[]): {
  added: number;
  removed: number;
} {
  const of = (kind: IDiffLine['kind']) =>
    lines.filter(line => line.kind === kind).length;
  return { added: of('added'), removed: of('removed') };
}

type Opened = IDiffLine & {
  hidden?: IDiffLine[] | null;
  count?: number | null;
};

/** The server's gaps with the lines that they stand for, where `whole` has them. */
function opened(lines: readonly IDiffLine[], whole?: string): Opened[] {
  if (!lines.some(line => line.kind === 'gap')) {
    return [...lines];
  }
  const text = fitting(lines, whole);
  return lines.map((line, place) => {
    if (line.kind !== 'gap') {
      return line;
    }
    const shown = (l: IDiffLine) => l.kind !== 'gap';
    const before = lines.slice(0, place).filter(shown).reverse();
    const after = lines.slice(place + 1).filter(shown);
    const a = (before.find(l => l.a !== null)?.a ?? 0) + 1;
    const b = (before.find(l => l.b !== null)?.b ?? 0) + 1;
    const next = after.find(l => l.b !== null)?.b ?? null;
    const end = next ?? (text === null ? null : text.length + 1);
    const count = end === null ? null : Math.max(0, end - b);
    const hidden =
      text === null || count === null
        ? null
        : text.slice(b - 1, b - 1 + count).map((t, i) => ({
            kind: 'same' as const,
            text: t,
            a: a + i,
            b: b + i
          }));
    return { ...line, hidden, count };
  });
}

/** The lines of `whole` if it is the new side of these lines, else null. */
function fitting(
  lines: readonly IDiffLine[],
  whole: string | undefined
): string[] | null {
  if (whole === undefined) {
    return null;
  }
  const text = whole.replace(/\n$/, '').split('\n');
  const fits = (line: IDiffLine) =>
    line.kind === 'gap' || line.b === null || text[line.b - 1] === line.text;
  return lines.every(fits) ? text : null;
}

/** Long stretches of equal lines become gaps that can be unfolded. */
function folded(lines: readonly Opened[]): Opened[] {
  const found: Opened[] = [];
  let at = 0;
  while (at < lines.length) {
    let end = at;
    while (end < lines.length && lines[end].kind === 'same') {
      end += 1;
    }
    if (end === at) {
      found.push(lines[at]);
      at += 1;
      continue;
    }
    const from = at + (at === 0 ? 0 : CONTEXT);
    const to = end - (end === lines.length ? 0 : CONTEXT);
    if (to - from < LEAST_HIDDEN) {
      found.push(...lines.slice(at, end));
    } else {
      const hidden = lines.slice(from, to);
      found.push(
        ...lines.slice(at, from),
        { kind: 'gap', text: '', a: null, b: null, hidden, count: to - from },
        ...lines.slice(to, end)
      );
    }
    at = end;
  }
  return found;
}

function row(line: Opened, pieces?: IPiece[]): IDiffRow {
  return {
    kind: line.kind,
    pieces: pieces ?? [{ text: line.text, marked: false }],
    a: line.a,
    b: line.b,
    hidden: line.hidden ?? null,
    count: line.count ?? null
  };
}

/** Rows for lines, with the words marked in which a block of removed lines differs from its added ones. */
function marked(lines: readonly Opened[]): IDiffRow[] {
  const rows: IDiffRow[] = [];
  let at = 0;
  while (at < lines.length) {
    let end = at;
    while (lines[end]?.kind === 'removed' || lines[end]?.kind === 'added') {
      end += 1;
    }
    if (end === at) {
      rows.push(row(lines[at]));
      at += 1;
      continue;
    }
    const block = lines.slice(at, end);
    const side = (kind: string) =>
      block.filter(l => l.kind === kind).map(l => l.text);
    const pieces = words(side('removed').join('\n'), side('added').join('\n'));
    const removed = pieces && byLine(pieces.a);
    const added = pieces && byLine(pieces.b);
    for (const line of block) {
      const own = line.kind === 'removed' ? removed : added;
      rows.push(row(line, own?.shift()));
    }
    at = end;
  }
  return rows;
}

const TOKENS =
  /\n|[^\S\n]+|[\p{Script=Han}\p{Script=Hiragana}\p{Script=Katakana}\p{Script=Thai}]|[\p{L}\p{M}\p{N}_]+|./gsu;

/** Which words of two texts differ; null where marks would not help: nothing in common, or too long. */
export function words(
  a: string,
  b: string
): { a: IPiece[]; b: IPiece[] } | null {
  const first = a.match(TOKENS) ?? [];
  const second = b.match(TOKENS) ?? [];
  let begin = 0;
  while (
    begin < Math.min(first.length, second.length) &&
    first[begin] === second[begin]
  ) {
    begin += 1;
  }
  let tail = 0;
  while (
    tail < Math.min(first.length, second.length) - begin &&
    first[first.length - 1 - tail] === second[second.length - 1 - tail]
  ) {
    tail += 1;
  }
  const middle = (tokens: readonly string[]) =>
    tokens.slice(begin, tokens.length - tail);
  const inner = common(middle(first), middle(second));
  if (inner === null) {
    return null;
  }
  const kept = (size: number, flags: readonly boolean[]) =>
    Array.from({ length: size }, (_, i) =>
      i < begin || i >= size - tail ? true : flags[i - begin]
    );
  const ofA = kept(first.length, inner.a);
  const ofB = kept(second.length, inner.b);
  const weight = (tokens: readonly string[], flags?: readonly boolean[]) =>
    tokens.reduce(
      (sum, t, i) => sum + (flags?.[i] === false ? 0 : t.trim().length),
      0
    );
  const share = weight(first, ofA) / Math.max(1, weight(first), weight(second));
  return share < LEAST_COMMON
    ? null
    : { a: joined(first, ofA), b: joined(second, ofB) };
}

/** The longest common subsequence of two lists of words, as flags; null if that would take too long. */
function common(
  a: readonly string[],
  b: readonly string[]
): { a: boolean[]; b: boolean[] } | null {
  if (a.length * b.length > MOST_PAIRS) {
    return null;
  }
  const width = b.length + 1;
  const length = new Uint16Array((a.length + 1) * width);
  for (let i = a.length - 1; i >= 0; i -= 1) {
    for (let j = b.length - 1; j >= 0; j -= 1) {
      length[i * width + j] =
        a[i] === b[j]
          ? length[(i + 1) * width + j + 1] + 1
          : Math.max(length[(i + 1) * width + j], length[i * width + j + 1]);
    }
  }
  const found = {
    a: a.map(() => false),
    b: b.map(() => false)
  };
  let i = 0;
  let j = 0;
  while (i < a.length && j < b.length) {
    if (a[i] === b[j]) {
      found.a[i] = true;
      found.b[j] = true;
      i += 1;
      j += 1;
    } else if (length[(i + 1) * width + j] >= length[i * width + j + 1]) {
      i += 1;
    } else {
      j += 1;
    }
  }
  return found;
}

/** Words put together to pieces; a space between two marked words is marked with them. */
function joined(tokens: readonly string[], kept: readonly boolean[]): IPiece[] {
  const pieces: IPiece[] = [];
  tokens.forEach((text, i) => {
    const between =
      kept[i] &&
      /^[^\S\n]+$/.test(text) &&
      kept[i - 1] === false &&
      kept[i + 1] === false;
    const isMarked = text !== '\n' && (!kept[i] || between);
    const last = pieces[pieces.length - 1];
    if (last && last.marked === isMarked && text !== '\n') {
      last.text += text;
    } else {
      pieces.push({ text, marked: isMarked });
    }
  });
  return pieces.flatMap(trimmed);
}

/** A marked piece without the spaces around its words. */
function trimmed(piece: IPiece): IPiece[] {
  const core = piece.text.trim();
  if (!piece.marked || core === '') {
    return [piece];
  }
  const begin = piece.text.indexOf(core);
  return [
    { text: piece.text.slice(0, begin), marked: false },
    { text: core, marked: true },
    { text: piece.text.slice(begin + core.length), marked: false }
  ].filter(({ text }) => text !== '');
}

/** Pieces line by line. */
function byLine(pieces: readonly IPiece[]): IPiece[][] {
  const lines: IPiece[][] = [[]];
  for (const piece of pieces) {
    piece.text.split('\n').forEach((text, i) => {
      if (i > 0) {
        lines.push([]);
      }
      if (text) {
        lines[lines.length - 1].push({ text, marked: piece.marked });
      }
    });
  }
  return lines;
}
