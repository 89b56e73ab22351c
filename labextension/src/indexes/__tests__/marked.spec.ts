import { excerpt, IPiece, piecesOf } from '../marked';

const told = (pieces: readonly IPiece[]) =>
  pieces.map(p => (p.marked ? `[${p.text}]` : p.text)).join('');

describe('piecesOf', () => {
  it('marks what the server says', () => {
    expect(
      told(
        piecesOf({
          text: 'a model is added',
          marked: [
            [2, 7],
            [11, 16]
          ]
        })
      )
    ).toBe('a [model] is [added]');
  });

  it('counts places as JavaScript does', () => {
    expect(told(piecesOf({ text: '😀😀 model 😀', marked: [[5, 10]] }))).toBe(
      '😀😀 [model] 😀'
    );
  });

  it.each([
    [
      [
        [5, 9],
        [0, 3]
      ],
      '[abc]de[fghi]j'
    ],
    [
      [
        [0, 5],
        [2, 7]
      ],
      '[abcde][fg]hij'
    ],
    [[[8, 99]], 'abcdefgh[ij]'],
    [[[-4, 2]], '[ab]cdefghij'],
    [[[7, 3]], 'abcdefghij'],
    [[[NaN, NaN]], 'abcdefghij']
  ] as [[number, number][], string][])(
    'goes through offsets %j without losing text',
    (marked, wanted) => {
      const pieces = piecesOf({ text: 'abcdefghij', marked });
      expect(pieces.map(p => p.text).join('')).toBe('abcdefghij');
      expect(told(pieces)).toBe(wanted);
    }
  );
});

describe('excerpt', () => {
  it('leaves a short passage as it is', () => {
    const pieces = piecesOf({ text: 'short', marked: [] });
    expect(excerpt(pieces)).toEqual(pieces);
  });

  it('shows the first mark of a long one', () => {
    const text = `${'before '.repeat(200)}model${' after'.repeat(200)}`;
    const cut = excerpt(piecesOf({ text, marked: [[1400, 1405]] }));
    expect(told(cut)).toContain('[model]');
    expect(told(cut).length).toBeLessThan(520);
    expect(told(cut)).toMatch(/^… before.* …$/);
  });

  it('shows the beginning of a long one without marks', () => {
    const cut = excerpt(piecesOf({ text: 'word '.repeat(500), marked: [] }));
    expect(told(cut)).toMatch(/^word /);
  });
});
