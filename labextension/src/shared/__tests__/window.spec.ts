import { revealed, stepped, windowOf } from '../window';

it('draws the rows in view and those around them', () => {
  expect(windowOf(0, 100, 20, 1000)).toEqual({ first: 0, end: 5 });
  expect(windowOf(1, 100, 20, 1000)).toEqual({ first: 0, end: 6 });
  expect(windowOf(200, 100, 20, 1000, 2)).toEqual({ first: 8, end: 17 });
});

it('draws nothing of an empty list and no more than there is', () => {
  expect(windowOf(0, 100, 20, 0)).toEqual({ first: 0, end: 0 });
  expect(windowOf(0, 100, 20, 3, 5)).toEqual({ first: 0, end: 3 });
  expect(windowOf(10_000, 100, 20, 3)).toEqual({ first: 2, end: 3 });
  expect(windowOf(0, 100, 0, 3)).toEqual({ first: 0, end: 0 });
});

it('leaves no gap wherever a list of 100,000 rows is scrolled to', () => {
  for (let top = 0; top < 100_000 * 63.5 - 500; top += 7_919.3) {
    const { first, end } = windowOf(top, 500, 63.5, 100_000);
    expect(first * 63.5).toBeLessThanOrEqual(top);
    expect(end * 63.5).toBeGreaterThanOrEqual(top + 500 - 1);
    expect(end - first).toBeLessThan(12);
  }
});

it('scrolls as little as it takes to show a row', () => {
  expect(revealed(3, 0, 100, 20)).toBe(0);
  expect(revealed(5, 0, 100, 20)).toBe(20);
  expect(revealed(2, 90, 100, 20)).toBe(40);
  expect(revealed(2, 0, 10, 20)).toBe(40);
});

it('moves by the keys of a list and stays within it', () => {
  expect(stepped('ArrowDown', 4, 10, 5)).toBe(5);
  expect(stepped('ArrowDown', 9, 10, 5)).toBe(9);
  expect(stepped('ArrowUp', 0, 10, 5)).toBe(0);
  expect(stepped('Home', 4, 10, 5)).toBe(0);
  expect(stepped('End', 4, 10, 5)).toBe(9);
  expect(stepped('PageDown', 1, 10, 5)).toBe(5);
  expect(stepped('PageDown', 8, 10, 5)).toBe(9);
  expect(stepped('PageUp', 8, 10, 5)).toBe(4);
  expect(stepped('PageUp', 2, 10, 1)).toBe(1);
});

it('begins at an end where no row is active, and takes no other keys', () => {
  expect(stepped('ArrowDown', -1, 10, 5)).toBe(0);
  expect(stepped('ArrowUp', -1, 10, 5)).toBe(9);
  expect(stepped('a', 1, 10, 5)).toBeNull();
  expect(stepped('toString', 1, 10, 5)).toBeNull();
  expect(stepped('End', -1, 0, 5)).toBeNull();
});
