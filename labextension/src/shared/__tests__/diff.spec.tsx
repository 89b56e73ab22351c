/* eslint-disable jupyter/no-untranslated-string -- names that a server would send */
import '@testing-library/jest-dom';

import {
  act,
  cleanup,
  fireEvent,
  render,
  screen
} from '@testing-library/react';
import { axe } from 'jest-axe';
import * as React from 'react';

import { IDiff, IDiffLine } from '../../api';
import {
  expectInert,
  failOnComplaints,
  HOSTILE,
  trans
} from '../../prompts/__tests__/stand_ins';
import { Diff } from '../diff';

const line = (
  kind: IDiffLine['kind'],
  text: string,
  a: number | null,
  b: number | null
): IDiffLine => ({ kind, text, a, b });

const diff = (lines: IDiffLine[], title = 'template'): IDiff => ({
  a: 'p@1',
  b: 'p@2',
  parts: [{ title, lines }]
});

/** A panel of a width; what watches it is told at once. */
function panelOf(width: number): void {
  window.ResizeObserver = class {
    constructor(readonly told: ResizeObserverCallback) {}
    observe() {
      act(() =>
        this.told(
          [{ contentRect: { width } } as ResizeObserverEntry],
          this as unknown as ResizeObserver
        )
      );
    }
    unobserve() {}
    disconnect() {}
  } as unknown as typeof ResizeObserver;
}

const before = window.ResizeObserver;
failOnComplaints();
afterEach(() => {
  cleanup();
  window.ResizeObserver = before;
});

it('says with a sign and a word what was added and what was removed', () => {
  render(
    <Diff
      trans={trans}
      diff={diff([
        line('removed', 'be brief', 1, null),
        line('added', 'be kind', null, 1)
      ])}
    />
  );
  const rows = screen.getAllByRole('row');
  expect(rows[0]).toHaveTextContent('1−removedbe brief');
  expect(rows[1]).toHaveTextContent('1+addedbe kind');
  expect(rows[0].querySelector('del')).toHaveTextContent('brief');
  expect(rows[1].querySelector('ins')).toHaveTextContent('kind');
  expect(screen.getByText('1 added, 1 removed')).toBeInTheDocument();
});

it('says that no line differs', () => {
  render(<Diff trans={trans} diff={diff([line('same', 'x', 1, 1)])} />);
  expect(screen.getByRole('status')).toHaveTextContent(
    'No line differs between p@1 and p@2.'
  );
  expect(screen.queryByRole('table')).toBeNull();
});

it('leaves parts without a change away', () => {
  const found = diff([line('added', 'x', null, 1)]);
  found.parts.push({ title: 'schema', lines: [line('same', '{}', 1, 1)] });
  render(<Diff trans={trans} diff={found} />);
  expect(screen.getAllByRole('table')).toHaveLength(1);
});

it('unfolds an equal stretch', () => {
  const whole = ['new', ...Array.from({ length: 9 }, (_, i) => `kept ${i}`)];
  render(
    <Diff
      trans={trans}
      diff={diff([line('added', 'new', null, 1), line('gap', '', null, null)])}
      whole={whole.join('\n')}
    />
  );
  expect(screen.queryByText('kept 4')).toBeNull();
  fireEvent.click(screen.getByRole('button', { name: 'Show 9 equal lines' }));
  expect(screen.getByText('kept 4')).toBeInTheDocument();
  expect(screen.queryByRole('button', { name: /equal/ })).toBeNull();
});

it('names a gap that nobody can fill without a button', () => {
  render(
    <Diff
      trans={trans}
      diff={diff([
        line('added', 'x', null, 1),
        line('gap', '', null, null),
        line('added', 'y', null, 9)
      ])}
    />
  );
  expect(screen.getByText('⋯ 7 equal lines')).toBeInTheDocument();
  expect(screen.queryByRole('button')).toBeNull();
});

it('puts old and new beside each other where there is room, unless one does not want it', () => {
  panelOf(800);
  render(
    <Diff
      trans={trans}
      diff={diff([
        line('removed', 'old', 1, null),
        line('added', 'new', null, 1),
        line('added', 'more', null, 2)
      ])}
    />
  );
  const rows = screen.getAllByRole('row');
  expect(rows[0]).toHaveTextContent('p@1p@2');
  expect(rows[1]).toHaveTextContent('1−removedold1+addednew');
  expect(rows[2].querySelector('.jp-LLMOps-diff-none')).not.toBeNull();
  const button = screen.getByRole('button', { name: 'Side by side' });
  expect(button).toHaveAttribute('aria-pressed', 'true');
  fireEvent.click(button);
  expect(button).toHaveAttribute('aria-pressed', 'false');
  expect(screen.getAllByRole('row')).toHaveLength(3);
});

it('stays one under the other in a narrow panel', () => {
  panelOf(250);
  render(<Diff trans={trans} diff={diff([line('added', 'new', null, 1)])} />);
  expect(screen.queryByRole('button', { name: 'Side by side' })).toBeNull();
});

it('shows hostile lines as they are written and runs none of it', () => {
  const { container } = render(
    <Diff
      trans={trans}
      diff={diff([line('added', HOSTILE, null, 1)], HOSTILE)}
    />
  );
  expect(container).toHaveTextContent('<script>window.ran=1</script>');
  expect(container).toHaveTextContent('⟨U+001B⟩[31m⟨U+202E⟩evil %1 $&');
  expectInert(container);
});

it('has only some of many changed lines in the page', () => {
  const lines = Array.from({ length: 20_000 }, (_, i) =>
    line('added', `new ${i}`, null, i + 1)
  );
  const { container } = render(<Diff trans={trans} diff={diff(lines)} />);
  expect(container.querySelectorAll('*').length).toBeLessThan(3000);
  fireEvent.click(screen.getByRole('button', { name: 'Next page' }));
  expect(screen.getByText('new 300')).toBeInTheDocument();
});

it('has no fault that axe finds', async () => {
  const { container } = render(
    <Diff
      trans={trans}
      diff={diff([
        line('removed', 'old', 1, null),
        line('added', 'new', null, 1),
        line('gap', '', null, null)
      ])}
      whole={'new\nkept'}
    />
  );
  expect((await axe(container)).violations).toEqual([]);
});
