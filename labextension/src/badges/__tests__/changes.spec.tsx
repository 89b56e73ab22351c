import '@testing-library/jest-dom';
import { nullTranslator } from '@jupyterlab/translation';
import { fireEvent, render, screen } from '@testing-library/react';
import * as React from 'react';

import { Changes, pairs } from '../changes';
import { IBadge } from '../state';

const PART = 'template';

const trans = nullTranslator.load('llmops_jupyter');
const badge: IBadge = {
  ...{ prompt: 'p', version: 2, latest: 4, previous: 1, differs: true }
};

function client() {
  return {
    diff: jest.fn(async (name: string, a: number, b: number) => ({
      a: `${name}@${a}`,
      b: `${name}@${b}`,
      parts: [
        {
          title: PART,
          lines: [
            { kind: 'added' as const, text: `line of ${b}`, a: null, b: 1 }
          ]
        }
      ]
    }))
  };
}

test('the version is compared with the one before it, and the newest with it', () => {
  expect(pairs(badge)).toEqual([
    { a: 1, b: 2 },
    { a: 2, b: 4 }
  ]);
  expect(pairs({ ...badge, latest: 2, previous: null })).toEqual([]);
});

test('the change is shown, and another can be chosen', async () => {
  const asked = client();
  render(<Changes client={asked} badge={badge} trans={trans} />);
  expect(await screen.findByText(/line of 2/)).toBeInTheDocument();
  expect(screen.getByText(/changed since it ran/)).toBeInTheDocument();
  fireEvent.change(screen.getByRole('combobox'), { target: { value: '1' } });
  expect(await screen.findByText(/line of 4/)).toBeInTheDocument();
  expect(asked.diff).toHaveBeenLastCalledWith('p', 2, 4);
});

test('a first version has nothing to be compared with', () => {
  const asked = client();
  const first = { ...badge, version: 1, latest: 1, previous: null };
  render(<Changes client={asked} badge={first} trans={trans} />);
  expect(screen.getByText(/first version/)).toBeInTheDocument();
  expect(asked.diff).not.toHaveBeenCalled();
});

test('a fault is told and can be tried again', async () => {
  const asked = client();
  asked.diff.mockRejectedValueOnce(new Error('no such version'));
  render(<Changes client={asked} badge={badge} trans={trans} />);
  expect(await screen.findByRole('alert')).toHaveTextContent('no such version');
  fireEvent.click(screen.getByText('Try again'));
  expect(await screen.findByText(/line of 2/)).toBeInTheDocument();
});
