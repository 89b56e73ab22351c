import '@testing-library/jest-dom';

import {
  act,
  cleanup,
  fireEvent,
  render,
  screen,
  within
} from '@testing-library/react';
import { axe } from 'jest-axe';
import * as React from 'react';

import { Client, IPromptSummary } from '../../api';
import { ApiError } from '../../request';
import Section from '../section';
import {
  expectInert,
  failOnComplaints,
  HOSTILE,
  hosting,
  prompt,
  summary,
  trans,
  watching
} from './stand_ins';

failOnComplaints();
afterEach(cleanup);

const three = [
  summary({ name: 'support-reply', saved_at: '2026-01-03T10:00:00Z' }),
  summary({
    name: 'mood',
    saved_at: '2026-01-05T10:00:00Z',
    aliases: {},
    traces: 3,
    preview: 'Is this review good?'
  }),
  summary({
    name: 'title',
    saved_at: '2026-01-04T10:00:00Z',
    traces: 0,
    split: 'title@production: version 1 90%, version 2 10%'
  })
];

/** The section with a panel around it that goes where it is told to. */
async function show(client: Partial<Client>, item = '') {
  const { watched, tell } = watching({
    prompt: async () => prompt(),
    diff: async () => ({ a: 'a', b: 'b', parts: [] }),
    ...client
  });
  const went: string[] = [];
  function Panel() {
    const [place, setPlace] = React.useState(item);
    return (
      <Section
        watched={watched}
        host={hosting()}
        trans={trans}
        item={place}
        go={(section, wanted = '') => {
          went.push(`${section} ${wanted}`);
          setPlace(wanted);
        }}
      />
    );
  }
  const found = render(<Panel />);
  await act(async () => {});
  return { ...found, tell, went };
}

const listing = (items: IPromptSummary[]): Partial<Client> => ({
  prompts: async () => ({ items, next: null })
});

const options = () =>
  within(screen.getByRole('listbox', { name: 'Prompts' })).getAllByRole(
    'option'
  );

const names = () =>
  options().map(option => option.querySelector('strong')?.textContent);

it('lists prompts, the newest first, with what there is to know of each', async () => {
  await show(listing(three));
  expect(names()).toEqual(['mood', 'title', 'support-reply']);
  const row = options()[2];
  expect(row).toHaveTextContent('support-reply@3');
  expect(row).toHaveTextContent('production → 2');
  expect(row).toHaveTextContent('3 versions · 412 traces');
  expect(row).toHaveTextContent('You are a support agent.');
  expect(options()[1]).toHaveTextContent(
    'Split: title@production: version 1 90%, version 2 10%'
  );
});

it('filters by name, alias and text, and says how many are left', async () => {
  await show(listing(three));
  const filter = screen.getByRole('searchbox');
  fireEvent.change(filter, { target: { value: 'REVIEW good' } });
  expect(names()).toEqual(['mood']);
  expect(screen.getByText('1 of 3 prompts')).toHaveAttribute('role', 'status');
  fireEvent.change(filter, { target: { value: 'production' } });
  expect(names()).toEqual(['title', 'support-reply']);
  fireEvent.change(filter, { target: { value: 'nothing like it' } });
  expect(screen.getByText('No prompt has these words.')).toBeInTheDocument();
  fireEvent.keyDown(filter, { key: 'Escape' });
  expect(names()).toHaveLength(3);
});

it('orders by name and by traces', async () => {
  await show(listing(three));
  const order = screen.getByRole('combobox', { name: 'Order' });
  fireEvent.change(order, { target: { value: 'name' } });
  expect(names()).toEqual(['mood', 'support-reply', 'title']);
  fireEvent.change(order, { target: { value: 'traces' } });
  expect(names()).toEqual(['support-reply', 'mood', 'title']);
});

it('is walked by keyboard from the filter to a prompt and back to it', async () => {
  const { went } = await show(listing(three));
  fireEvent.keyDown(screen.getByRole('searchbox'), { key: 'ArrowDown' });
  const list = screen.getByRole('listbox');
  expect(options()[0]).toHaveFocus();
  fireEvent.keyDown(list, { key: 'ArrowDown' });
  fireEvent.keyDown(list, { key: 'End' });
  expect(options()[2]).toHaveFocus();
  fireEvent.keyDown(list, { key: 'ArrowDown' });
  fireEvent.keyDown(list, { key: 'ArrowUp' });
  expect(options()[1]).toHaveFocus();
  expect(options().map(option => option.tabIndex)).toEqual([-1, 0, -1]);
  fireEvent.keyDown(list, { key: 'End' });
  await act(async () => {
    fireEvent.keyDown(list, { key: 'Enter' });
  });
  expect(went).toEqual(['prompts support-reply']);
  expect(screen.getByRole('heading', { name: 'support-reply' })).toHaveFocus();
  await act(async () => {
    fireEvent.click(screen.getByRole('button', { name: '‹ All prompts' }));
  });
  expect(options()[2]).toHaveFocus();
});

it('takes no focus when it appears', async () => {
  await show(listing(three));
  expect(document.body).toHaveFocus();
  cleanup();
  await show(listing(three), 'support-reply');
  expect(document.body).toHaveFocus();
});

it('says what to type where there is no prompt', async () => {
  await show(listing([]));
  expect(screen.getByText('%%prompt my-prompt')).toBeInTheDocument();
  expect(screen.queryByRole('searchbox')).toBeNull();
});

it('shows that it waits, then what went wrong with a way to try again', async () => {
  let answer: () => Promise<unknown> = () => new Promise(() => undefined);
  const prompts = jest.fn(() => answer()) as unknown as Client['prompts'];
  const { tell } = await show({ prompts });
  expect(screen.getByText('Loading…')).toBeInTheDocument();
  answer = () =>
    Promise.reject(new ApiError(500, 'StoreError', 'The file is not a store.'));
  await act(async () => tell('prompts'));
  expect(screen.getByRole('alert')).toHaveTextContent(
    'The file is not a store.'
  );
  answer = async () => ({ items: three, next: null });
  await act(async () => {
    fireEvent.click(screen.getByRole('button', { name: 'Try again' }));
  });
  expect(screen.queryByRole('alert')).toBeNull();
  expect(names()).toHaveLength(3);
});

it('keeps the list while it is asked again, and shows what is new', async () => {
  let items = three.slice(0, 1);
  const { tell } = await show({ prompts: async () => ({ items, next: null }) });
  items = three;
  await act(async () => tell('traces'));
  expect(names()).toHaveLength(1);
  await act(async () => tell('prompts'));
  expect(names()).toHaveLength(3);
});

it('has a hundred of 5,000 prompts in the page', async () => {
  const items = Array.from({ length: 5000 }, (_, i) =>
    summary({ name: `p-${String(i).padStart(4, '0')}` })
  );
  const { container } = await show(listing(items));
  fireEvent.change(screen.getByRole('combobox', { name: 'Order' }), {
    target: { value: 'name' }
  });
  expect(options()).toHaveLength(100);
  expect(container.querySelectorAll('*').length).toBeLessThan(2000);
  const pages = screen.getByRole('navigation', { name: 'Pages of prompts' });
  expect(pages).toHaveTextContent('1 to 100 of 5,000');
  fireEvent.click(within(pages).getByRole('button', { name: 'Next page' }));
  expect(names()[0]).toBe('p-0100');
  fireEvent.change(screen.getByRole('searchbox'), {
    target: { value: '4999' }
  });
  expect(names()).toEqual(['p-4999']);
});

it('comes back to the page of the prompt that was opened', async () => {
  const items = Array.from({ length: 300 }, (_, i) =>
    summary({ name: `p-${String(i).padStart(4, '0')}` })
  );
  await show(listing(items));
  fireEvent.click(screen.getByRole('button', { name: 'Next page' }));
  await act(async () => {
    fireEvent.click(options()[50]);
  });
  await act(async () => {
    fireEvent.click(screen.getByRole('button', { name: '‹ All prompts' }));
  });
  const opened = within(
    screen.getByRole('listbox', { name: 'Prompts' })
  ).getByRole('option', { selected: true });
  expect(opened).toHaveTextContent('p-0150');
  expect(opened).toHaveFocus();
});

it('shows hostile names and texts as they are written', async () => {
  const { container } = await show(
    listing([
      summary({
        name: HOSTILE,
        preview: HOSTILE,
        split: HOSTILE,
        aliases: { [HOSTILE]: 1, constructor: 2 }
      })
    ])
  );
  expectInert(container);
  expect(container).toHaveTextContent('constructor → 2');
});

it('has no fault that axe finds', async () => {
  const { container } = await show(listing(three));
  expect((await axe(container)).violations).toEqual([]);
});
