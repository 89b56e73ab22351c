import '@testing-library/jest-dom';
import { fireEvent, render, screen } from '@testing-library/react';
import * as React from 'react';

import { beginning, inert, LongText } from '../text';
import { trans } from './made';

test('what a terminal or the direction of text would obey is made visible', () => {
  expect(inert('\x1b[31mred\x07')).toBe('␛[31mred␇');
  expect(inert('a\r\nb\tc')).toBe('a\nb\tc');
  expect(inert('gpj.\u202eexe')).toBe('gpj.⟨U+202E⟩exe');
  expect(inert('\x9b2J\x7f')).toBe('⟨U+009B⟩2J␡');
});

test('a text is cut at a whole character, and after so many lines', () => {
  expect(beginning('a😀', 2)).toBe('a');
  expect(beginning('line\n'.repeat(100)).split('\n')).toHaveLength(24);
  expect(beginning('short')).toBe('short');
});

test('a megabyte is cut until it is asked for, and can be put away again', () => {
  const text = `${'x'.repeat(1_000_000)}END`;
  const { container } = render(<LongText text={text} trans={trans} />);
  expect(container.textContent?.length).toBeLessThan(2000);
  fireEvent.click(screen.getByText(/Show all \(1,000,003 characters\)/));
  expect(container.textContent).toContain('END');
  expect(screen.getByRole('region')).toHaveAttribute('tabindex', '0');
  fireEvent.click(screen.getByText('Show less'));
  expect(container.textContent).not.toContain('END');
});
