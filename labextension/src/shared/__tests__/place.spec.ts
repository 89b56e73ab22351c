import { filtersOf, placeOf } from '../place';

describe('places of the traces section', () => {
  it('say what is filtered, and are read as it', () => {
    const filters = {
      prompt: 'support@3',
      status: 'error' as const,
      since: '2026-11-01T12:00:00.000Z'
    };
    const place = placeOf(filters);
    expect(place).toBe(
      'prompt:support@3 status:error since:2026-11-01T12:00:00.000Z'
    );
    expect(filtersOf(place)).toEqual(filters);
  });

  it('cannot hold a value with a space', () => {
    expect(placeOf({ prompt: 'a status:ok' })).toBe('');
  });

  it('are nothing where nothing is filtered', () => {
    expect(placeOf({})).toBe('');
  });

  it.each([
    '',
    '0af7651916cd43dd8448eb211c80319c',
    'prompt:',
    'prompt:a b',
    'constructor:x',
    'toString:x',
    ':x'
  ])('are not what %j says', text => {
    expect(filtersOf(text)).toBeNull();
  });
});
