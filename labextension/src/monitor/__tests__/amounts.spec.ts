import { trans } from '../../shared/__tests__/stage';
import { dollars, quantity } from '../../shared/quantities';
import { amount, window } from '../amounts';

describe('quantity', () => {
  it.each([
    [0.0712, '%', '7.1 %'],
    [0.25, 's', '250 ms'],
    [3.21, 's', '3.2 s'],
    [1234.4, 'tokens', '1,234 tokens'],
    [0.1234, '', '0.123'],
    [0.000123, '', '0.00012'],
    [null, '%', '–']
  ])('writes %s %s as %s', (value, unit, wanted) => {
    expect(quantity(value, unit)).toBe(wanted);
  });
});

describe('dollars', () => {
  it.each([
    [0, '$0.00'],
    [0.00213, '$0.0021'],
    [1.5, '$1.50'],
    [1234.567, '$1,234.57'],
    [null, '–']
  ])('writes %s as %s', (value, wanted) => {
    expect(dollars(value)).toBe(wanted);
  });
});

describe('amount', () => {
  it.each([
    [500, 'output_tokens', '500 output tokens'],
    [1200, 'tokens', '1,200 tokens'],
    [90, 'seconds', '1 min 30 s'],
    [2500, 'joules', '2.5 kJ'],
    [1.5, 'dollars', '$1.50']
  ])('writes %s %s as %s', (value, unit, wanted) => {
    expect(amount(trans, value, unit)).toBe(wanted);
  });
});

describe('window', () => {
  it.each([
    ['day', 'a day'],
    ['total', 'in total'],
    ['call', 'a call'],
    ['24h', 'in any 24 hours']
  ])('says %s as %s', (per, wanted) => {
    expect(window(trans, per)).toBe(wanted);
  });
});
