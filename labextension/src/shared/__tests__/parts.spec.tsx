/* eslint jupyter/no-untranslated-string: off -- tests are read in one language */
import '@testing-library/jest-dom';
import { fireEvent, render, screen, waitFor } from '@testing-library/react';
import * as React from 'react';

import { ApiError } from '../../request';
import { Action } from '../action';
import { Answer } from '../answer';
import { Bar } from '../bars';
import { Bounded } from '../bounded';
import { Fold } from '../fold';
import { magicLine, word } from '../magicline';
import { Standing } from '../standing';
import { complaintsFail, Stage, trans } from './stage';

complaintsFail();

describe('word', () => {
  it.each([
    ['smollm2', 'smollm2'],
    ['smollm2@1', 'smollm2@1'],
    ['docs/réponse.md', '"docs/réponse.md"'],
    ['two words', '"two words"'],
    ['--over', '"--over"'],
    ['why?', '"why?"'],
    ["it's", `"it's"`],
    ['C:\\models', '"C:\\models"'],
    ['say "x"', `"say \\"x\\""`],
    [`it's "so"`, `"it's \\"so\\""`]
  ])('writes %s as the magics read it', (text, wanted) => {
    expect(word(text)).toBe(wanted);
  });

  it.each([
    'a\nimport os; os.system("x")',
    'a\r%run x',
    'a\u2028b',
    'gpj.\u202eexe',
    'a\u0000'
  ])('refuses %j, which is no word of a line', text => {
    expect(word(text)).toBeNull();
    expect(magicLine('%model use', text)).toBeNull();
  });
});

describe('Action', () => {
  it('puts its line into the notebook and does not run it', async () => {
    const { host } = new Stage({}).props;
    render(
      <Action host={host} trans={trans} label="Go" source="%model status" />
    );
    fireEvent.click(screen.getByRole('button', { name: 'Go' }));
    expect(host.insertCell).toHaveBeenCalledWith('%model status');
  });

  it('says so where no notebook is open', async () => {
    const stage = new Stage({});
    stage.host.insertCell.mockResolvedValue(false);
    render(<Action {...stage.props} label="Go" source="%model status" />);
    fireEvent.click(screen.getByRole('button', { name: 'Go' }));
    await waitFor(() =>
      expect(stage.host.notify).toHaveBeenCalledWith(
        expect.stringContaining('Open a notebook first'),
        'error'
      )
    );
  });

  it('says why where the cell could not be put there', async () => {
    const stage = new Stage({});
    stage.host.insertCell.mockRejectedValue(new Error('no room'));
    render(<Action {...stage.props} label="Go" source="%model status" />);
    fireEvent.click(screen.getByRole('button', { name: 'Go' }));
    await waitFor(() =>
      expect(stage.host.notify).toHaveBeenCalledWith('no room', 'error')
    );
  });

  it('inserts nothing for a name that no line can hold', () => {
    const stage = new Stage({});
    render(<Action {...stage.props} label="Go" source={null} />);
    fireEvent.click(screen.getByRole('button', { name: 'Go' }));
    expect(stage.host.insertCell).not.toHaveBeenCalled();
    expect(stage.host.notify).toHaveBeenCalledWith(
      expect.stringContaining('cannot be written'),
      'error'
    );
  });
});

describe('Answer', () => {
  const again = jest.fn();

  it('shows what there was beside the fault, and asks again', () => {
    const fault = new ApiError(500, 'StoreError', 'The disk is full.');
    render(
      <Answer trans={trans} asked={{ body: 'old', fault, busy: false, again }}>
        {body => <p>{body}</p>}
      </Answer>
    );
    expect(screen.getByRole('alert')).toHaveTextContent('The disk is full.');
    expect(screen.getByText('old')).toBeVisible();
    fireEvent.click(screen.getByRole('button', { name: 'Try again' }));
    expect(again).toHaveBeenCalledTimes(1);
  });
});

describe('Bounded', () => {
  it('makes a hundred thousand items a hundred at a time', () => {
    const items = Array.from({ length: 100_000 }, (_, i) => String(i));
    render(
      <Bounded
        trans={trans}
        label="Things"
        items={items}
        id={item => item}
        render={item => item}
      />
    );
    expect(screen.getAllByRole('listitem')).toHaveLength(30);
    fireEvent.click(
      screen.getByRole('button', { name: 'Show 100 more of 99,970' })
    );
    expect(screen.getAllByRole('listitem')).toHaveLength(130);
  });
});

describe('Fold', () => {
  it('makes its content only while it is open, and says so', () => {
    const onOpen = jest.fn();
    const { rerender } = render(
      <Fold title="Name" open={false} onOpen={onOpen}>
        inside
      </Fold>
    );
    const button = screen.getByRole('button', { name: 'Name' });
    expect(button).toHaveAttribute('aria-expanded', 'false');
    expect(screen.queryByText('inside')).toBeNull();
    fireEvent.click(button);
    expect(onOpen).toHaveBeenCalledWith(true);
    rerender(
      <Fold title="Name" open={true} onOpen={onOpen}>
        inside
      </Fold>
    );
    const content = screen.getByText('inside');
    expect(button).toHaveAttribute('aria-controls', content.id);
  });
});

describe('Standing', () => {
  it('tells a state by word and mark, and any other by its word', () => {
    const { rerender, container } = render(<Standing state="alert" />);
    expect(container).toHaveTextContent('✗ alert');
    rerender(<Standing state="constructor" />);
    expect(container.textContent).toBe('constructor');
  });
});

describe('Bar', () => {
  it('is full at most, and says how much it is', () => {
    render(<Bar label="Budget" share={1.7} text="17 of 10 calls" />);
    const bar = screen.getByRole('meter', { name: 'Budget' });
    expect(bar).toHaveAttribute('aria-valuenow', '100');
    expect(bar).toHaveAttribute('aria-valuetext', '17 of 10 calls');
  });

  it('is empty where the share is no number', () => {
    render(<Bar label="Budget" share={NaN} text="?" />);
    expect(screen.getByRole('meter')).toHaveAttribute('aria-valuenow', '0');
  });
});
