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

  it('hold values with spaces and signs of addresses', () => {
    const filters = { session: '100% of Ann status:ok', model: 'Größe%' };
    const place = placeOf(filters);
    expect(place).toBe('model:Größe%25 session:100%25%20of%20Ann%20status:ok');
    expect(filtersOf(place)).toEqual(filters);
    expect(filtersOf('model:50%')).toEqual({ model: '50%' });
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
