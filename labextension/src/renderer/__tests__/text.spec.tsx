import '@testing-library/jest-dom';
import { fireEvent, render, screen } from '@testing-library/react';
import * as React from 'react';

import { beginning, LongText } from '../text';
import { trans } from './made';

test('what a terminal or the direction of text would obey is made visible, and line ends of Windows are ends of lines', () => {
  const { container } = render(
    <LongText text={'\x1b[31mred\r\ngpj.\u202eexe'} trans={trans} />
  );
  expect(container.textContent).toBe('⟨U+001B⟩[31mred\ngpj.⟨U+202E⟩exe');
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
