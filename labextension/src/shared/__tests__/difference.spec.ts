import { IDiffLine } from '../../api';
import { counts, drawn, sideBySide, words } from '../difference';

const same = (from: number, to: number): IDiffLine[] =>
  Array.from({ length: to - from + 1 }, (_, i) => ({
    kind: 'same',
    text: `line ${from + i}`,
    a: from + i,
    b: from + i
  }));
const added = (text: string, b: number): IDiffLine => ({
  kind: 'added',
  text,
  a: null,
  b
});
const removed = (text: string, a: number): IDiffLine => ({
  kind: 'removed',
  text,
  a,
  b: null
});
const gap: IDiffLine = { kind: 'gap', text: '', a: null, b: null };
const marks = (pieces?: { text: string; marked: boolean }[]) =>
  pieces?.filter(piece => piece.marked).map(piece => piece.text);
const text = (pieces: { text: string }[]) => pieces.map(p => p.text).join('');

describe('words', () => {
  it('marks the words that are others and nothing else', () => {
    const found = words('Answer in one sentence.', 'Answer in two sentences.');
    expect(marks(found?.a)).toEqual(['one sentence']);
    expect(marks(found?.b)).toEqual(['two sentences']);
  });

  it('marks a space between two words only together with them', () => {
    const found = words('keep old keep', 'keep new keep');
    expect(marks(found?.a)).toEqual(['old']);
    expect(marks(found?.b)).toEqual(['new']);
  });

  it('marks single characters of writing without spaces', () => {
    const found = words('返信は短く書く', '返信は長く書く');
    expect(marks(found?.a)).toEqual(['短']);
    expect(marks(found?.b)).toEqual(['長']);
  });

  it('loses no character of either side', () => {
    const a = 'a\r\n\t{{ x }} \ud83d\ude00 \ud800 e\u0301 one\n\ntwo';
    const b = 'a\n{{ y }} \ud83d\ude00 e\u0301 one\ntwo three';
    const found = words(a, b);
    expect(text(found?.a ?? [])).toBe(a);
    expect(text(found?.b ?? [])).toBe(b);
  });

  it('marks nothing where the texts have next to nothing in common', () => {
    expect(words('Where is my order?', 'Écris un poème.')).toBeNull();
  });

  it('marks nothing where looking would take too long', () => {
    const a = Array.from({ length: 3000 }, (_, i) => `a${i}`).join(' ');
    const b = Array.from({ length: 3000 }, (_, i) => `b${i}`).join(' ');
    expect(words(a, b)).toBeNull();
  });

  it('finds one changed word in a text of 100,000 words', () => {
    const long = Array.from({ length: 100_000 }, (_, i) => `w${i}`);
    const other = [...long];
    other[50_000] = 'another';
    const found = words(long.join(' '), other.join(' '));
    expect(marks(found?.b)).toEqual(['another']);
  });
});

describe('drawn', () => {
  it('marks each line of a block by what its other side has', () => {
    const rows = drawn([
      removed('one two', 1),
      removed('three four', 2),
      added('one 2', 1),
      added('three four', 2)
    ]);
    expect(rows.map(row => marks(row.pieces))).toEqual([
      ['two'],
      [],
      ['2'],
      []
    ]);
  });

  it('draws an empty line in a changed block as an empty line', () => {
    const rows = drawn([
      removed('a b c', 1),
      added('a b c', 1),
      added('', 2),
      added('a b d', 3)
    ]);
    expect(rows.map(row => text(row.pieces))).toEqual([
      'a b c',
      'a b c',
      '',
      'a b d'
    ]);
  });

  it('folds a long equal stretch and leaves three lines beside each change', () => {
    const rows = drawn([added('new', 1), ...same(2, 21), removed('old', 22)]);
    expect(rows.map(row => row.kind)).toEqual([
      'added',
      ...Array(3).fill('same'),
      'gap',
      ...Array(3).fill('same'),
      'removed'
    ]);
    expect(rows[4].count).toBe(14);
    expect(rows[4].hidden?.map(line => line.text)).toEqual(
      same(5, 18).map(line => line.text)
    );
  });

  it('keeps nothing of an equal stretch at the ends of the text but what stands beside a change', () => {
    const rows = drawn([...same(1, 10), added('new', 11)]);
    expect(rows.map(row => row.kind)).toEqual([
      'gap',
      'same',
      'same',
      'same',
      'added'
    ]);
  });

  it('folds no stretch that is hardly longer than what stays', () => {
    const lines = [added('new', 1), ...same(2, 10), removed('old', 11)];
    expect(drawn(lines).map(row => row.kind)).toEqual(lines.map(l => l.kind));
  });

  it('fills a gap of the server from the new text', () => {
    const whole = ['first', 'x', 'y', 'z', 'last', 'end'].join('\n') + '\n';
    const rows = drawn(
      [added('first', 1), gap, { kind: 'same', text: 'last', a: 4, b: 5 }, gap],
      whole
    );
    expect(rows[1].count).toBe(3);
    expect(rows[1].hidden).toEqual([
      { kind: 'same', text: 'x', a: 1, b: 2 },
      { kind: 'same', text: 'y', a: 2, b: 3 },
      { kind: 'same', text: 'z', a: 3, b: 4 }
    ]);
    expect(rows[3].hidden?.map(line => line.text)).toEqual(['end']);
  });

  it('does not fill a gap from a text that does not fit', () => {
    const rows = drawn([added('first', 1), gap, added('last', 5)], 'other\n');
    expect(rows[1]).toMatchObject({ hidden: null, count: 3 });
  });
});

describe('sideBySide', () => {
  it('puts the first removed line beside the first added one, and gaps on both sides', () => {
    const pairs = sideBySide(
      drawn([removed('a', 1), removed('b', 2), added('c', 1), gap])
    );
    expect(
      pairs.map(pair => [
        pair.a && text(pair.a.pieces),
        pair.b && text(pair.b.pieces)
      ])
    ).toEqual([
      ['a', 'c'],
      ['b', null],
      ['', '']
    ]);
  });
});

it('counts added and removed lines', () => {
  expect(counts([added('a', 1), added('b', 2), removed('c', 1), gap])).toEqual({
    added: 2,
    removed: 1
  });
});
