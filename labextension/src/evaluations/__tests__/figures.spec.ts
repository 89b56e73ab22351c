import { trans } from '../../prompts/__tests__/stand_ins';
import {
  differenceText,
  probabilityText,
  tickText,
  valueText
} from '../figures';
import { itemOf, likely, pairOf, shared } from '../place';
import { run } from './runs_fake';

const rate = { drawn: 'rate' as const, unit: '' };
const seconds = { drawn: 'mean' as const, unit: 's' };

it('says rates in per cent and their differences in points', () => {
  expect(valueText(0.84, rate)).toBe('84.0 %');
  expect(differenceText(trans, 0.04, rate)).toBe('+4.0 points');
  expect(differenceText(trans, -0.0125, rate)).toBe('-1.3 points');
  expect(tickText(0.05, rate)).toBe('+5');
});

it('says other values with three digits that count, and their unit', () => {
  expect(valueText(123.4, seconds)).toBe('123 s');
  expect(valueText(12.34, seconds)).toBe('12.3 s');
  expect(valueText(1.234, seconds)).toBe('1.23 s');
  expect(valueText(0.1234, seconds)).toBe('0.123 s');
  expect(valueText(0.00012345, seconds)).toBe('0.00012 s');
  expect(valueText(0, { drawn: 'mean', unit: '' })).toBe('0.000');
  expect(differenceText(trans, 0.5, seconds)).toBe('+0.500 s');
  expect(tickText(-0.5, seconds)).toBe('-0.5');
});

it('says a dash where there is no number', () => {
  for (const value of [null, undefined, NaN, Infinity]) {
    expect(valueText(value, rate)).toBe('–');
    expect(differenceText(trans, value, rate)).toBe('–');
  }
  expect(probabilityText(null)).toBe('–');
});

it('says small p-values as less than one in a thousand', () => {
  expect(probabilityText(0.0312)).toBe('0.031');
  expect(probabilityText(0.0009)).toBe('<0.001');
  expect(probabilityText(0)).toBe('<0.001');
});

it.each([
  ['12..15', { a: '12', b: '15', metric: '' }],
  ['12..15:human:correct', { a: '12', b: '15', metric: 'human:correct' }]
])('%p means a pair, and the pair means it', (item, pair) => {
  expect(pairOf(item)).toEqual(pair);
  expect(itemOf(pair)).toBe(item);
});

it.each(['', '12', 'a', '12..'])('%p means the list', item => {
  expect(pairOf(item)).toBeNull();
});

it('takes the two newest finished runs on the same data with a metric in common', () => {
  const runs = [
    run('6', { finished: false }),
    run('5', { data: 'other@1' }),
    run('4', { data: 'tickets@2' }),
    run('3', { data: 'tickets@2', metrics: {} }),
    run('2', { data: 'tickets@2' }),
    run('1', { data: 'other@1' })
  ];
  expect(likely(runs)).toEqual({ a: '1', b: '5' });
  expect(likely(runs.slice(2))).toEqual({ a: '2', b: '4' });
  expect(likely(runs.slice(3, 4))).toEqual({ a: '', b: '3' });
  expect(likely([])).toEqual({ a: '', b: '' });
});

it('finds the metrics that two runs share, whatever they are called', () => {
  const exact = run('1').metrics.exact;
  const a = run('1', { metrics: { exact } });
  const b = run('2', { metrics: { constructor: exact, exact } as never });
  expect(shared(a, b)).toEqual(['exact']);
  expect(shared(a, undefined)).toEqual([]);
});
