import { logTicks, numberTicks, rangeOf, scale, timeTicks } from '../scale';

const HOUR = 3_600_000;
const at = (year: number, month: number, day: number, hour = 0, minute = 0) =>
  new Date(year, month, day, hour, minute).getTime();

beforeAll(() => {
  document.documentElement.lang = 'en';
});

describe('scale', () => {
  it('puts values between two pixels', () => {
    const x = scale([10, 20], [100, 300]);
    expect([10, 15, 20].map(x)).toEqual([100, 200, 300]);
  });

  it('puts tenfold values equally far apart where it is logarithmic', () => {
    const y = scale([1, 100], [200, 0], true);
    expect(y(10)).toBeCloseTo(100);
  });
});

describe('rangeOf', () => {
  it('leaves room at both ends', () => {
    const [low, high] = rangeOf([100, 200]);
    expect([low, high]).toEqual([95, 205]);
  });

  it('does not go below 0 for values that never do', () => {
    expect(rangeOf([0.01, 10])[0]).toBe(0);
  });

  it('begins at 0 where that is asked for', () => {
    expect(rangeOf([5, 10], { zero: true })[0]).toBe(0);
  });

  it('is never empty', () => {
    for (const values of [[], [3], [0], [-3], [NaN, Infinity]]) {
      const [low, high] = rangeOf(values);
      expect(high).toBeGreaterThan(low);
      const [first, last] = rangeOf(values, { room: 0 });
      expect(last).toBeGreaterThan(first);
    }
  });

  it('leaves out what has no logarithm', () => {
    const [low] = rangeOf([-5, 0, 1, 100], { log: true });
    expect(low).toBeGreaterThan(0);
    expect(rangeOf([-5, 0], { log: true })).toEqual([1, 10]);
  });
});

describe('numberTicks', () => {
  it('are round and not written with more decimals than needed', () => {
    expect(numberTicks([0, 10], 5).map(t => t.text)).toEqual([
      '0',
      '2',
      '4',
      '6',
      '8',
      '10'
    ]);
    expect(numberTicks([1.23, 1.48], 5).map(t => t.text)).toEqual([
      '1.25',
      '1.3',
      '1.35',
      '1.4',
      '1.45'
    ]);
  });

  it('write large numbers short', () => {
    expect(numberTicks([0, 3e6], 3).map(t => t.text)).toEqual([
      '0',
      '1M',
      '2M',
      '3M'
    ]);
  });

  it('have 0 without a minus', () => {
    expect(numberTicks([-1, 1], 2).map(t => t.text)).toContain('0');
  });
});

describe('logTicks', () => {
  it('are powers of ten', () => {
    expect(logTicks([0.001, 1000], 6).map(t => t.at)).toEqual([
      0.001, 0.01, 0.1, 1, 10, 100, 1000
    ]);
  });

  it('are at least two within less than a decade', () => {
    expect(logTicks([2.1, 2.9], 4).length).toBeGreaterThan(1);
  });
});

describe('timeTicks', () => {
  it('stand on whole hours of the clock, and say the day at midnight', () => {
    const begin = at(2026, 10, 28, 20, 17);
    const ticks = timeTicks([begin, begin + 12 * HOUR], 4);
    expect(ticks.map(t => new Date(t.at).getMinutes())).toEqual(
      ticks.map(() => 0)
    );
    const midnight = ticks.find(t => t.at === at(2026, 10, 29));
    expect(midnight?.text).toBe('Nov 29');
  });

  it('stand on midnights over a month', () => {
    const begin = at(2026, 9, 30, 7);
    const ticks = timeTicks([begin, begin + 30 * 24 * HOUR], 4);
    expect(ticks.length).toBeGreaterThan(2);
    expect(ticks.length).toBeLessThan(7);
    expect(ticks.map(t => new Date(t.at).getHours())).toEqual(
      ticks.map(() => 0)
    );
  });

  it('stand on first days of months over years', () => {
    const ticks = timeTicks([at(2020, 3, 9), at(2026, 3, 9)], 5);
    expect(ticks.map(t => new Date(t.at).getDate())).toEqual(
      ticks.map(() => 1)
    );
  });

  it('say seconds within a minute', () => {
    const begin = at(2026, 10, 28, 20, 17);
    const [first] = timeTicks([begin + 1, begin + 40_000], 4);
    expect(first.text).toMatch(/:17:\d\d/);
  });

  it('are within the range and end even if the range is absurd', () => {
    const begin = at(2026, 10, 28);
    const ticks = timeTicks([begin, begin + 1e15], 4);
    expect(ticks.every(t => t.at >= begin && t.at <= begin + 1e15)).toBe(true);
    expect(ticks.length).toBeLessThan(1001);
  });
});
