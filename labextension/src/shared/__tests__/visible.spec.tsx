import '@testing-library/jest-dom';

import { cleanup, fireEvent, render, screen } from '@testing-library/react';
import * as React from 'react';

import { failOnComplaints, trans } from '../../prompts/__tests__/stand_ins';
import { LongText } from '../long';
import { own } from '../own';
import { beginning, visible } from '../visible';

failOnComplaints();
afterEach(cleanup);

describe('visible', () => {
  it('leaves a text as it is', () => {
    const text = 'Grüße,\n\t世界 👩‍👩‍👧 {{ name }} <b>';
    expect(visible(text)).toBe(text);
  });

  it('shows escape sequences, marks of direction and hidden tags', () => {
    expect(visible('\u001b[31mred\r\u0000')).toBe(
      '⟨U+001B⟩[31mred⟨U+000D⟩⟨U+0000⟩'
    );
    expect(visible('a\u202eb\u2066c\u200bd\ufeff\u007f\u0085')).toBe(
      'a⟨U+202E⟩b⟨U+2066⟩c⟨U+200B⟩d⟨U+FEFF⟩⟨U+007F⟩⟨U+0085⟩'
    );
    expect(visible('\u{e0041}')).toBe('⟨U+E0041⟩');
  });
});

describe('beginning', () => {
  it('cuts at so many characters and not within one', () => {
    expect(beginning('short', 5)).toBe('short');
    expect(beginning('longer', 5)).toBe('long…');
    expect(beginning('ab😀cd', 4)).toBe('ab…');
  });
});

describe('a long text', () => {
  it('is cut by lines with a button that shows it whole', () => {
    const text = Array.from({ length: 30 }, (_, i) => `line ${i}`).join('\n');
    const { container } = render(
      <LongText trans={trans} text={text} lines={3} />
    );
    const block = container.querySelector('pre');
    expect(block?.textContent).toBe('line 0\nline 1\nline 2…');
    const button = screen.getByRole('button', {
      name: `Show all ${text.length} characters`
    });
    expect(button).toHaveAttribute('aria-expanded', 'false');
    fireEvent.click(button);
    expect(block?.textContent).toBe(text);
    fireEvent.click(screen.getByRole('button', { name: 'Show less' }));
    expect(block?.textContent).toBe('line 0\nline 1\nline 2…');
  });

  it('is cut by characters where it has no lines, not within one', () => {
    const { container } = render(
      <LongText trans={trans} text={'ab😀cd'} characters={3} />
    );
    expect(container.querySelector('pre')?.textContent).toBe('ab…');
  });

  it('has the line ends of Windows as ends of lines, and shows what nobody would see', () => {
    const { container } = render(
      <LongText trans={trans} text={'\x1b[31mred\r\ngpj.\u202eexe'} />
    );
    expect(container.textContent).toBe('⟨U+001B⟩[31mred\ngpj.⟨U+202E⟩exe');
  });

  it('of a megabyte is quick, is scrolled within, and can be put away again', () => {
    const text = `${'x'.repeat(1_000_000)}END`;
    const { container } = render(<LongText trans={trans} text={text} />);
    expect(container.textContent?.length).toBeLessThan(2000);
    fireEvent.click(
      screen.getByRole('button', { name: 'Show all 1,000,003 characters' })
    );
    expect(container.textContent).toContain('END');
    const whole = screen.getByRole('group', { name: 'The whole text' });
    expect(whole).toHaveAttribute('tabindex', '0');
    fireEvent.click(screen.getByRole('button', { name: 'Show less' }));
    expect(container.textContent).not.toContain('END');
    expect(screen.queryByRole('group')).toBeNull();
  });

  it('has no button where all is seen', () => {
    render(<LongText trans={trans} text={'one\n\n\n'} lines={1} />);
    expect(screen.queryByRole('button')).toBeNull();
  });
});

it('takes nothing from an object but its own', () => {
  expect(own({ a: 1 }, 'a')).toBe(1);
  expect(own<unknown>({}, 'constructor')).toBeUndefined();
  expect(own<unknown>({}, '__proto__')).toBeUndefined();
});
