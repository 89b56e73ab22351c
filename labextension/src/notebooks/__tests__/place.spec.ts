import { isSame, places } from '../place';

test('a path in the known root is certain', () => {
  expect(places('/home/me/project/a/b.ipynb', '/home/me/project')).toEqual([
    'a/b.ipynb'
  ]);
  expect(places('C:\\Users\\me\\a\\b.ipynb', 'C:/Users/me/')).toEqual([
    'a/b.ipynb'
  ]);
  expect(places('/b.ipynb', '/')).toEqual(['b.ipynb']);
});

test('a root is a folder, not the beginning of a name', () => {
  expect(places('/home/me/projectshop/b.ipynb', '/home/me/project')[0]).toBe(
    'home/me/projectshop/b.ipynb'
  );
});

test('without a root the longest end of the path comes first', () => {
  expect(places('/x/y/b.ipynb', '')).toEqual([
    'x/y/b.ipynb',
    'y/b.ipynb',
    'b.ipynb'
  ]);
  expect(places('y/b.ipynb', '~/w')).toEqual(['y/b.ipynb', 'b.ipynb']);
});

test('a path that climbs or says nothing leads nowhere', () => {
  expect(places('/x/../../etc/b.ipynb', '/x')).toEqual([]);
  expect(places('', '/x')).toEqual([]);
});

test('a deep path is not tried at every folder', () => {
  expect(places(`/${'d/'.repeat(100)}b.ipynb`, '')).toHaveLength(12);
});

test('an open notebook is the one whose path ends what the trace names', () => {
  expect(isSame('/home/me/a/b.ipynb', 'a/b.ipynb')).toBe(true);
  expect(isSame('C:\\me\\a\\b.ipynb', 'b.ipynb')).toBe(true);
  expect(isSame('/home/me/ab.ipynb', 'b.ipynb')).toBe(false);
  expect(isSame('/home/me/a.ipynb', '')).toBe(false);
});
