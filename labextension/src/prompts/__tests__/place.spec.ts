import { neighbours, placeOf, versionAt } from '../place';
import { prompt } from './stand_ins';

it.each([
  ['', { name: '', selector: '', pair: null }],
  ['p', { name: 'p', selector: '', pair: null }],
  ['p@3', { name: 'p', selector: '3', pair: null }],
  ['p@production', { name: 'p', selector: 'production', pair: null }],
  ['p@2..3', { name: 'p', selector: '3', pair: [2, 3] }],
  ['p@a..b', { name: 'p', selector: 'a..b', pair: null }]
])('%p means a place', (item, place) => {
  expect(placeOf(item)).toEqual(place);
});

it('finds a version by number and by alias, and the newest without either', () => {
  expect(versionAt(prompt(), '')?.version).toBe(3);
  expect(versionAt(prompt(), '1')?.version).toBe(1);
  expect(versionAt(prompt(), 'production')?.version).toBe(2);
});

it.each(['9', 'staging', 'constructor', '__proto__', '1e0'])(
  'finds no version %p',
  selector => {
    expect(versionAt(prompt(), selector)).toBeUndefined();
  }
);

it('compares a version with the one before, the first with the one after, a lonely one with none', () => {
  expect(neighbours(prompt(), 3)).toEqual([2, 3]);
  expect(neighbours(prompt(), 1)).toEqual([1, 2]);
  expect(
    neighbours(prompt({ versions: prompt().versions.slice(0, 1) }), 3)
  ).toBeNull();
});
