/* eslint-disable jupyter/no-untranslated-string -- names that a server would send */
import '@testing-library/jest-dom';

import {
  cleanup,
  fireEvent,
  render,
  screen,
  within
} from '@testing-library/react';
import { axe } from 'jest-axe';
import * as React from 'react';

import {
  expectInert,
  failOnComplaints,
  HOSTILE,
  trans
} from '../../prompts/__tests__/stand_ins';
import { Forest, IForestRow, IntervalBar } from '../forest';
import { extent, place, ticks } from '../intervals';

failOnComplaints();
afterEach(cleanup);

const format = (value: number) => value.toFixed(1);

function draw(rows: IForestRow[], title = 'Difference on exact') {
  return render(
    <Forest
      trans={trans}
      rows={rows}
      title={title}
      axis="B − A in points"
      format={format}
      bare={format}
      tick={String}
    />
  ).container;
}

const overall: IForestRow = {
  label: 'all rows',
  value: 4,
  low: -1,
  high: 9,
  n: 200,
  strong: true,
  tone: 'better'
};

describe('an axis', () => {
  it('holds all that is finite and the zero line, with room at both ends', () => {
    const range = extent(
      [
        { value: 4, low: null, high: 9 },
        { value: 5, low: -Infinity, high: Infinity }
      ],
      [0]
    );
    expect(range.low).toBeLessThan(0);
    expect(range.low).toBeGreaterThan(-1);
    expect(range.high).toBeGreaterThan(9);
    expect(range.high).toBeLessThan(10);
  });

  it.each([
    [[], []],
    [[{ value: 0, low: 0, high: 0 }], [0]],
    [[{ value: null, low: null, high: null }], []],
    [[{ value: 7, low: null, high: null }], []],
    [[{ value: 1, low: -Number.MAX_VALUE, high: Number.MAX_VALUE }], [0]]
  ])('is never empty nor endless: %j', (bars, include) => {
    const range = extent(bars, include);
    expect(range.high).toBeGreaterThan(range.low);
    expect(Number.isFinite(range.low) && Number.isFinite(range.high)).toBe(
      true
    );
    expect(Number.isFinite(place(0, range, 0, 100))).toBe(true);
  });

  it('has a few round numbers', () => {
    expect(ticks({ low: -1.3, high: 9.6 })).toEqual([0, 5]);
    expect(ticks({ low: -0.11, high: 0.21 })).toEqual([-0.1, 0, 0.1, 0.2]);
    expect(ticks({ low: -1e300, high: 1e300 }).length).toBeLessThan(12);
    expect(ticks({ low: 1e20, high: 1e20 + 65_536 }).length).toBeLessThan(25);
    expect(ticks({ low: 1, high: 1 })).toEqual([]);
  });

  it('keeps what lies outside at its end', () => {
    const range = { low: 0, high: 10 };
    expect(place(5, range, 100, 200)).toBe(150);
    expect(place(-5, range, 100, 200)).toBe(100);
    expect(place(1e9, range, 100, 200)).toBe(200);
  });
});

describe('the plot', () => {
  it('draws a diamond for all rows, a circle for a slice, whiskers for both', () => {
    const container = draw([
      overall,
      { label: 'topic=returns', value: -2, low: -6, high: 2, n: 40 }
    ]);
    const rows = container.querySelectorAll('.jp-LLMOps-forest-row');
    expect(rows[0].querySelector('path.jp-LLMOps-forest-point')).not.toBeNull();
    expect(
      rows[1].querySelector('circle.jp-LLMOps-forest-point')
    ).not.toBeNull();
    expect(
      container.querySelectorAll('.jp-LLMOps-forest-whisker')
    ).toHaveLength(2);
    expect(rows[0]).toHaveTextContent('4.0 (-1.0 to 9.0)');
    expect(rows[0]).toHaveTextContent('n = 200');
  });

  it('puts the zero line where zero is, between the ends of the interval', () => {
    const container = draw([overall]);
    const zero = Number(
      container.querySelector('.jp-LLMOps-forest-zero')?.getAttribute('x1')
    );
    const [, low, high] =
      /M ([\d.]+) [\d.]+ L ([\d.]+)/.exec(
        container
          .querySelector('.jp-LLMOps-forest-whisker')
          ?.getAttribute('d') ?? ''
      ) ?? [];
    expect(zero).toBeGreaterThan(Number(low));
    expect(zero).toBeLessThan(Number(high));
    expect((zero - Number(low)) / (Number(high) - Number(low))).toBeCloseTo(
      0.1
    );
  });

  it('draws an open end to the edge with an arrow, and says so', () => {
    const container = draw([{ ...overall, low: null }]);
    const d = container
      .querySelector('.jp-LLMOps-forest-whisker')
      ?.getAttribute('d');
    expect(d).toMatch(/^M 8 [\d.]+ L/);
    expect(d).toMatch(/M 13 [\d.]+ L 8 [\d.]+ L 13/);
    expect(container.querySelector('svg')).toHaveTextContent('up to 9.0');
  });

  it.each([
    [null, null],
    [-Infinity, Infinity]
  ])('draws no whisker where nothing is known: %p to %p', (low, high) => {
    const container = draw([{ ...overall, low, high }]);
    expect(container.querySelector('.jp-LLMOps-forest-whisker')).toBeNull();
    expect(container.querySelector('.jp-LLMOps-forest-point')).not.toBeNull();
    expect(container.querySelector('svg')).toHaveTextContent(
      '4.0 (no interval)'
    );
  });

  it('draws no point without a value, and no number that is none', () => {
    const container = draw([
      { label: 'all', value: null, low: null, high: null, n: 0, strong: true }
    ]);
    expect(container.querySelector('.jp-LLMOps-forest-point')).toBeNull();
    expect(container.innerHTML).not.toMatch(/NaN|Infinity|undefined/);
  });

  it('is named by what it shows first, and has all of it as a table', () => {
    draw([
      overall,
      { label: 'topic=returns', value: -2, low: null, high: 2, n: 40 }
    ]);
    expect(screen.getByRole('img')).toHaveAccessibleName(
      'Difference on exact. all rows: 4.0 (-1.0 to 9.0). All numbers stand in the table below.'
    );
    fireEvent.click(screen.getByText('As a table'));
    const table = screen.getByRole('table', { hidden: true });
    const cells = within(table)
      .getAllByRole('row', { hidden: true })
      .map(row => row.textContent);
    expect(cells).toEqual([
      'Rows ofDifferenceIntervaln',
      'all rows4.0-1.0 to 9.0200',
      'topic=returns-2.0up to 2.040'
    ]);
  });

  it('shows hostile names as text', () => {
    const container = draw([{ ...overall, label: HOSTILE }], HOSTILE);
    expectInert(container);
  });

  it('has only some of a thousand slices in the page and the overall row on each', () => {
    const slices = Array.from({ length: 1000 }, (_, i) => ({
      label: `id=${i}`,
      value: i,
      low: i - 1,
      high: i + 1,
      n: 5
    }));
    const container = draw([overall, ...slices]);
    expect(container.querySelectorAll('.jp-LLMOps-forest-row')).toHaveLength(
      41
    );
    fireEvent.click(screen.getByRole('button', { name: 'Next page' }));
    const rows = container.querySelectorAll('.jp-LLMOps-forest-row');
    expect(rows[0]).toHaveTextContent('all rows');
    expect(rows[1]).toHaveTextContent('id=40');
  });

  it('has no fault that axe finds', async () => {
    expect((await axe(draw([overall]))).violations).toEqual([]);
  });
});

it('draws a small bar only as far as it is known', () => {
  const range = { low: 0, high: 1 };
  const { container, rerender } = render(
    <IntervalBar
      bar={{ value: 0.5, low: 0.25, high: 0.75 }}
      range={range}
      width={106}
    />
  );
  const bar = container.querySelector('.jp-LLMOps-interval-bar');
  expect(bar).toHaveAttribute('x1', '28');
  expect(bar).toHaveAttribute('x2', '78');
  rerender(
    <IntervalBar bar={{ value: null, low: null, high: null }} range={range} />
  );
  expect(container.querySelector('.jp-LLMOps-interval-bar')).toBeNull();
  expect(container.querySelector('.jp-LLMOps-interval-point')).toBeNull();
});
