import * as React from 'react';

import { IHit } from '../api';
import { visible } from '../shared/visible';

/** A piece of a text, and whether a word of the question is in it. */
export interface IPiece {
  text: string;
  marked: boolean;
}

/** Characters of a passage that are shown at first, and of these before its first mark. */
const SHOWN = 480;
const BEFORE = 120;

/** A passage in pieces. Offsets that overlap are joined, and those beyond the text are cut. */
export function piecesOf({
  text,
  marked
}: Pick<IHit, 'text' | 'marked'>): IPiece[] {
  const at = (offset: number) =>
    Math.max(0, Math.min(text.length, Math.trunc(offset) || 0));
  const found: IPiece[] = [];
  let done = 0;
  const add = (to: number, isMarked: boolean) => {
    if (to > done) {
      found.push({ text: text.slice(done, to), marked: isMarked });
      done = to;
    }
  };
  for (const [from, to] of [...marked].sort((a, b) => a[0] - b[0])) {
    add(at(from), false);
    add(at(to), true);
  }
  add(text.length, false);
  return found;
}

/** At most about so many characters from a little before the first mark; dots where something is left out. */
export function excerpt(pieces: readonly IPiece[]): IPiece[] {
  const text = pieces.map(piece => piece.text).join('');
  if (text.length <= SHOWN) {
    return [...pieces];
  }
  let first = 0;
  const isMarked = pieces.some(piece => piece.marked);
  for (const piece of pieces) {
    if (piece.marked || !isMarked) {
      break;
    }
    first += piece.text.length;
  }
  const begin = wordFrom(
    text,
    Math.max(0, Math.min(first - BEFORE, text.length - SHOWN))
  );
  const end = wordTo(text, begin + SHOWN);
  const found: IPiece[] = begin > 0 ? [{ text: '… ', marked: false }] : [];
  let place = 0;
  for (const piece of pieces) {
    const shown = piece.text.slice(
      Math.max(0, begin - place),
      Math.max(0, end - place)
    );
    if (shown) {
      found.push({ text: shown, marked: piece.marked });
    }
    place += piece.text.length;
  }
  return end < text.length ? [...found, { text: ' …', marked: false }] : found;
}

/** Pieces as text, those with a word of the question marked. */
export function Marked(props: {
  pieces: readonly IPiece[];
}): React.JSX.Element {
  return (
    <>
      {props.pieces.map(({ text, marked }, i) =>
        marked ? <mark key={i}>{visible(text)}</mark> : visible(text)
      )}
    </>
  );
}

/** Where a word ends at or soon before a place. */
function wordTo(text: string, place: number): number {
  const space = place < text.length ? text.lastIndexOf(' ', place) : -1;
  return space > place - BEFORE ? space : place;
}

/** Where a word begins at or soon after a place. */
function wordFrom(text: string, place: number): number {
  const space = place > 0 ? text.indexOf(' ', place) : -1;
  return space >= 0 && space < place + BEFORE ? space + 1 : place;
}
