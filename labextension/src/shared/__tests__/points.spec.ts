import { IPoint, isNumber, nearest, runsOf, stopsOf, thinned } from '../points';

const wave = (count: number): IPoint[] =>
  Array.from({ length: count }, (_, x) => ({ x, y: Math.sin(x / 50) }));

describe('thinned', () => {
  it('gives few points back as they are', () => {
    const points = wave(2000);
    expect(thinned(points, 2000)).toBe(points);
  });

  it('keeps spikes of one point up and down among many', () => {
    const points = wave(100_000);
    points[31_417] = { x: 31_417, y: 99 };
    points[77_777] = { x: 77_777, y: -99 };
    const kept = thinned(points, 2000);
    expect(kept.length).toBeLessThanOrEqual(2000);
    expect(kept).toContain(points[31_417]);
    expect(kept).toContain(points[77_777]);
  });

  it('keeps the extremes of every group, and so the outline', () => {
    const points = wave(50_000);
    const kept = thinned(points, 2000);
    for (let begin = 0; begin < 50_000; begin += 5000) {
      const within = (p: IPoint) => p.x >= begin && p.x < begin + 5000;
      const most = (some: readonly IPoint[]) =>
        Math.max(...some.filter(within).map(p => p.y as number));
      expect(most(kept)).toBe(most(points));
    }
  });

  it('keeps the first and the last point', () => {
    const points = wave(10_001);
    const kept = thinned(points, 100);
    expect(kept[0]).toBe(points[0]);
    expect(kept[kept.length - 1]).toBe(points[10_000]);
  });

  it('keeps a gap of one point', () => {
    const points = wave(20_000);
    points[12_345] = { x: 12_345, y: null };
    expect(thinned(points, 1000)).toContain(points[12_345]);
  });

  it('keeps the ends of the widest interval', () => {
    const points = wave(20_000).map(p => ({ ...p, low: -2, high: 2 }));
    points[4321] = { ...points[4321], high: 50 };
    points[5432] = { ...points[5432], low: -50 };
    const kept = thinned(points, 1000);
    expect(kept).toContain(points[4321]);
    expect(kept).toContain(points[5432]);
  });

  it('stays in order and repeats nothing', () => {
    const xs = thinned(wave(30_000), 500).map(p => p.x);
    expect(xs).toEqual([...new Set(xs)].sort((a, b) => a - b));
  });

  it('goes through points that are all gaps', () => {
    const points = Array.from({ length: 9000 }, (_, x) => ({ x, y: null }));
    expect(thinned(points, 100).every(p => p.y === null)).toBe(true);
  });
});

describe('runsOf', () => {
  it('divides at gaps', () => {
    const points = [1, null, 2, 3, null, null, 4].map((y, x) => ({ x, y }));
    const runs = runsOf(points, p => isNumber(p.y));
    expect(runs.map(run => run.map(p => p.y))).toEqual([[1], [2, 3], [4]]);
  });
});

describe('nearest', () => {
  it.each([
    [-5, 0],
    [4, 0],
    [6, 1],
    [14.9, 1],
    [15.1, 2],
    [99, 2]
  ])('finds the place that is nearest to %d', (x, place) => {
    expect(nearest([0, 10, 20], x)).toBe(place);
  });

  it('finds nothing among nothing', () => {
    expect(nearest([], 1)).toBe(-1);
  });
});

describe('stopsOf', () => {
  it('joins the places of all series without gaps', () => {
    const a = [1, 2, 3].map(x => ({ x, y: x === 3 ? null : x }));
    const b = [2, 0.5].map(x => ({ x, y: 1 }));
    expect(stopsOf([a, b])).toEqual([0.5, 1, 2]);
  });
});
