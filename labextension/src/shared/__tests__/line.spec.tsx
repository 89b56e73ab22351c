/* eslint jupyter/no-untranslated-string: off -- tests are read in one language */
import '@testing-library/jest-dom';
import { act, fireEvent, render, screen, within } from '@testing-library/react';
import * as React from 'react';

import { Chart, IChartProps } from '../line';
import { complaintsFail, dangerous, HOSTILE, trans, violations } from './stage';

complaintsFail();

const loss = {
  name: 'training',
  points: [3, 2, 1.5, 1.25].map((y, i) => ({ x: 10 * (i + 1), y }))
};
const looks = {
  name: 'eval',
  points: [
    { x: 10, y: 3.1 },
    { x: 40, y: 1.5 }
  ]
};

function chart(props: Partial<IChartProps> = {}): HTMLElement {
  const { container } = render(
    <Chart
      trans={trans}
      label="Loss over steps"
      xName="step"
      series={[loss, looks]}
      {...props}
    />
  );
  return container;
}

const slider = () => screen.getByRole('slider', { name: 'Loss over steps' });
const spoken = () => slider().getAttribute('aria-valuetext');
const strokes = (container: HTMLElement) =>
  [...container.querySelectorAll('.jp-LLMOps-plot .jp-LLMOps-stroke')].map(
    path => path.getAttribute('d') as string
  );

describe('Chart', () => {
  it('draws a line for each series within its picture', () => {
    const container = chart();
    const paths = strokes(container);
    expect(paths).toHaveLength(2);
    const svg = container.querySelector('svg') as SVGElement;
    const [width, height] = ['width', 'height'].map(n =>
      Number(svg.getAttribute(n))
    );
    for (const [x, y] of paths.flatMap(d =>
      d
        .slice(1)
        .split('L')
        .map(p => p.split(',').map(Number))
    )) {
      expect(x).toBeGreaterThanOrEqual(0);
      expect(x).toBeLessThanOrEqual(width);
      expect(y).toBeGreaterThanOrEqual(0);
      expect(y).toBeLessThanOrEqual(height);
    }
  });

  it('leaves gaps where there is no value, and dots what stands alone', () => {
    const points = [1, 2, null, 3, null, 4, 5].map((y, x) => ({ x, y }));
    const container = chart({ series: [{ name: 'a', points }] });
    const [path] = strokes(container);
    expect(path.match(/M/g)).toHaveLength(2);
    expect(path).not.toMatch(/NaN|Infinity|null/);
    const [dots] = container.querySelectorAll(
      '.jp-LLMOps-plot .jp-LLMOps-dots'
    );
    expect(dots.getAttribute('d')?.match(/M/g)).toHaveLength(5);
  });

  it('keeps the document small and the spike in it for 100,000 points', () => {
    const points = Array.from({ length: 100_000 }, (_, x) => ({
      x,
      y: x === 31_417 ? 50 : 1
    }));
    const container = chart({ series: [{ name: 'a', points }] });
    expect(container.querySelectorAll('*').length).toBeLessThan(150);
    const [path] = strokes(container);
    const ys = path.slice(1).split('L');
    expect(ys.length).toBeLessThanOrEqual(2000);
    const tops = ys.map(p => Number(p.split(',')[1]));
    expect(Math.min(...tops)).toBeLessThan(Math.max(...tops) - 50);
  });

  it('reads off the last point until somebody points at another one', () => {
    chart();
    expect(spoken()).toBe('step 40; training: 1.25; eval: 1.5');
  });

  it('goes from point to point with the arrows and reads what is there', () => {
    chart();
    act(() => slider().focus());
    fireEvent.keyDown(slider(), { key: 'Home' });
    expect(spoken()).toBe('step 10; training: 3; eval: 3.1');
    fireEvent.keyDown(slider(), { key: 'ArrowRight' });
    expect(spoken()).toBe('step 20; training: 2; eval: 3.1 (at 10)');
    fireEvent.keyDown(slider(), { key: 'ArrowLeft' });
    fireEvent.keyDown(slider(), { key: 'ArrowLeft' });
    expect(spoken()).toContain('step 10;');
    fireEvent.keyDown(slider(), { key: 'End' });
    expect(slider()).toHaveAttribute('aria-valuenow', '4');
    expect(slider()).toHaveAttribute('aria-valuemax', '4');
  });

  it('leaves keys alone that mean nothing to it', () => {
    chart();
    expect(fireEvent.keyDown(slider(), { key: 'a' })).toBe(true);
    expect(fireEvent.keyDown(slider(), { key: 'ArrowRight' })).toBe(false);
  });

  it('reads the point that is nearest to the mouse, and marks it', () => {
    const container = chart();
    fireEvent.mouseMove(slider(), { clientX: 0 });
    expect(spoken()).toContain('step 10;');
    const cursor = container.querySelector('.jp-LLMOps-cursor') as Element;
    expect(cursor.querySelectorAll('circle')).toHaveLength(2);
    fireEvent.mouseLeave(slider());
    expect(spoken()).toContain('step 40;');
    expect(container.querySelector('.jp-LLMOps-cursor')).toBeNull();
  });

  it('says of a gap that nothing is there', () => {
    const points = [
      { x: 1, y: 5 },
      { x: 2, y: null },
      { x: 3, y: 6 }
    ];
    const all = [1, 2, 3].map(x => ({ x, y: x }));
    chart({
      series: [
        { name: 'a', points },
        { name: 'b', points: all }
      ]
    });
    fireEvent.keyDown(slider(), { key: 'Home' });
    fireEvent.keyDown(slider(), { key: 'ArrowRight' });
    expect(spoken()).toBe('step 2; a: –; b: 2');
  });

  it('stays at the place that is pointed at while points come', () => {
    const { rerender } = render(
      <Chart
        trans={trans}
        label="Loss over steps"
        xName="step"
        series={[loss]}
      />
    );
    act(() => slider().focus());
    fireEvent.keyDown(slider(), { key: 'Home' });
    const more = { ...loss, points: [...loss.points, { x: 50, y: 1 }] };
    rerender(
      <Chart
        trans={trans}
        label="Loss over steps"
        xName="step"
        series={[more]}
      />
    );
    expect(spoken()).toBe('step 10; training: 3');
    expect(slider()).toHaveAttribute('aria-valuemax', '5');
  });

  it('has the same as a table', () => {
    chart();
    fireEvent.click(screen.getByText('As a table'));
    const details = screen.getByText('As a table').parentElement as HTMLElement;
    (details as HTMLDetailsElement).open = true;
    fireEvent(details, new Event('toggle'));
    const rows = within(screen.getByRole('table')).getAllByRole('row');
    expect(rows.map(row => row.textContent)).toEqual([
      'steptrainingeval',
      '1033.1',
      '202',
      '301.5',
      '401.251.5'
    ]);
  });

  it('makes at most a hundred rows of the table at first', () => {
    const points = Array.from({ length: 5000 }, (_, x) => ({ x, y: x }));
    const container = chart({ series: [{ name: 'a', points }] });
    const details = container.querySelector('details') as HTMLDetailsElement;
    details.open = true;
    fireEvent(details, new Event('toggle'));
    expect(screen.getAllByRole('row')).toHaveLength(101);
    fireEvent.click(screen.getByRole('button', { name: /^Show 100 more of / }));
    expect(screen.getAllByRole('row')).toHaveLength(201);
  });

  it('leaves out what has no logarithm, and says so', () => {
    const points = [0, 1, 10, 100].map((y, x) => ({ x, y }));
    const container = chart({ series: [{ name: 'a', points }], log: true });
    fireEvent.click(screen.getByRole('checkbox', { name: 'log' }));
    expect(
      screen.getByText('1 value at or below 0 is not drawn.')
    ).toBeVisible();
    const [path] = strokes(container);
    const [first, second, third] = path
      .slice(1)
      .split('L')
      .map(p => Number(p.split(',')[1]));
    expect(path.split('L')).toHaveLength(3);
    expect(first - second).toBeCloseTo(second - third, 0);
  });

  it('offers no logarithm where none was asked for', () => {
    chart();
    expect(screen.queryByRole('checkbox')).toBeNull();
  });

  it('draws points with their intervals and reads their names', () => {
    const container = chart({
      series: [
        {
          name: 'tried',
          kind: 'points',
          points: [
            { x: 10, y: 20, low: 19, high: 21, name: 'Q4_0' },
            { x: 10, y: 22, name: 'Q8_0' }
          ]
        }
      ]
    });
    expect(spoken()).toBe('step 10; tried: Q4_0 20 (19 to 21), Q8_0 22');
    expect(container.querySelectorAll('.jp-LLMOps-whiskers')).toHaveLength(1);
  });

  it('tells series apart by more than their colour', () => {
    const container = chart();
    const looks = [...container.querySelectorAll('.jp-LLMOps-plot g')]
      .map(group => group.getAttribute('class') ?? '')
      .filter(name => name.includes('jp-LLMOps-look-'));
    expect(new Set(looks).size).toBe(looks.length);
    expect(looks).toHaveLength(2);
  });

  it('draws thresholds and rings and names them', () => {
    const container = chart({
      marks: [
        { name: 'limit', y: 2 },
        { name: 'best', x: 40, y: 1.5 }
      ]
    });
    const marks = container.querySelector(
      '.jp-LLMOps-plot .jp-LLMOps-marks'
    ) as Element;
    expect(marks.querySelectorAll('path')).toHaveLength(1);
    expect(marks.querySelectorAll('circle')).toHaveLength(1);
    expect(screen.getByText('limit')).toBeVisible();
    expect(screen.getByText('best')).toBeVisible();
  });

  it.each([[[]], [[{ x: 1, y: null }]], [[{ x: 1, y: NaN }]]])(
    'says that there is nothing yet of %j',
    points => {
      chart({ series: [{ name: 'a', points }] });
      expect(screen.getByText('No values yet.')).toBeVisible();
      expect(screen.queryByRole('slider')).toBeNull();
    }
  );

  it('draws one point, and one moment', () => {
    const one = [{ x: Date.UTC(2026, 10, 28), y: 5 }];
    const container = chart({
      series: [{ name: 'a', points: one }],
      across: 'time'
    });
    expect(container.innerHTML).not.toMatch(/NaN|Infinity/);
  });

  it('shows names of the store as text only', () => {
    const container = chart({
      series: [{ ...loss, name: HOSTILE }],
      marks: [{ name: HOSTILE, y: 1 }]
    });
    expect(dangerous(container)).toEqual([]);
    expect(container.textContent).toContain('<img src=x onerror=alert(1)>');
  });

  it('is accessible', async () => {
    expect(await violations(chart({ log: true }))).toEqual([]);
  });
});
