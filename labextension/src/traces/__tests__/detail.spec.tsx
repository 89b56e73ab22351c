import '@testing-library/jest-dom';

import {
  act,
  cleanup,
  fireEvent,
  render,
  screen
} from '@testing-library/react';
import * as React from 'react';

import { ITrace, Topic } from '../../api';
import { IHost } from '../../host';
import { ApiError } from '../../request';
import { NONE } from '../annotation';
import { forget } from '../memory';
import Section from '../section';
import {
  FakeStore,
  FakeWatched,
  HOSTILE,
  clientOf,
  hostOf,
  idOf,
  score,
  span,
  trace,
  trans
} from './stand_ins';

beforeEach(() => {
  jest.useFakeTimers();
  jest.setSystemTime(new Date('2026-01-31T12:05:00Z'));
});
afterEach(() => {
  cleanup();
  forget();
  jest.useRealTimers();
});

const pass = (ms = 0) => act(() => jest.advanceTimersByTimeAsync(ms));
const detail = () => screen.getByRole('region', { name: 'Trace' });
const press = async (key: string, more = {}) => {
  fireEvent.keyDown(detail(), { key, ...more });
  await pass();
};
const button = (name: string | RegExp) => screen.getByRole('button', { name });

async function shown(it: ITrace = trace(), more: Partial<IHost> = {}) {
  const client = clientOf(new FakeStore(3));
  client.trace.mockImplementation(async () => it);
  const watched = new FakeWatched(client);
  const host = hostOf(more);
  const go = jest.fn();
  render(
    <Section
      watched={watched.it}
      host={host}
      trans={trans}
      item={it.trace_id}
      go={go}
    />
  );
  await pass();
  return { client, host, go, watched };
}

it('shows a trace, has the focus, and goes back to the list', async () => {
  const { go } = await shown();
  expect(screen.getByRole('heading', { name: 'greet@1' })).toBeInTheDocument();
  expect(detail()).toHaveFocus();
  fireEvent.click(button(/All traces/));
  expect(go).toHaveBeenLastCalledWith('traces', '');
  await press('Escape');
  expect(go).toHaveBeenCalledTimes(2);
});

it('cuts a name that is as long as a text, and shows what nobody would see in it', async () => {
  const name = `gpj.\u202eexe ${'x'.repeat(2000)}`;
  await shown(trace({ spans: [span({ prompt: '', name })] }));
  const heading = screen.getAllByRole('heading', { level: 3 })[0];
  expect(heading).toHaveTextContent(/^gpj\.⟨U\+202E⟩exe x+…$/);
  expect(heading.textContent).toHaveLength(120);
});

it('asks for a trace that has ended again no more often than every few seconds', async () => {
  const { client, watched } = await shown();
  const asked = client.trace.mock.calls.length;
  for (let i = 0; i < 4; i++) {
    act(() => watched.news.emit(new Set<Topic>(['traces'])));
    await pass(500);
  }
  expect(client.trace).toHaveBeenCalledTimes(asked);
  await pass(5000);
  expect(client.trace).toHaveBeenCalledTimes(asked + 1);
});

it('goes to the next and the previous trace', async () => {
  const { go } = await shown(trace({ trace_id: idOf(2) }));
  await press('j');
  expect(go).toHaveBeenLastCalledWith('traces', idOf(1));
  await press('k');
  expect(go).toHaveBeenLastCalledWith('traces', idOf(3));
});

it('has no neighbours where the list does not know the trace', async () => {
  const { go } = await shown(trace({ trace_id: idOf(99) }));
  expect(button('Next trace')).toBeDisabled();
  await press('j');
  expect(go).not.toHaveBeenCalled();
});

it('says in the server’s words that a trace is gone, and lets one go back', async () => {
  const client = clientOf(new FakeStore(3));
  client.trace.mockRejectedValue(
    new ApiError(404, 'UnknownNameError', 'There is no trace.')
  );
  const go = jest.fn();
  render(
    <Section
      watched={new FakeWatched(client).it}
      host={hostOf()}
      trans={trans}
      item="abc"
      go={go}
    />
  );
  await pass();
  expect(screen.getByRole('alert')).toHaveTextContent('There is no trace.');
  fireEvent.click(button(/All traces/));
  expect(go).toHaveBeenCalledWith('traces', '');
});

describe('annotation', () => {
  it.each([
    ['+', 'up'],
    ['-', 'down']
  ])('scores the thumb with %s', async (key, value) => {
    const { client } = await shown();
    await press(key);
    expect(client.score).toHaveBeenCalledWith(idOf(1), 'thumb', value, '');
    expect(client.trace).toHaveBeenCalledTimes(2);
  });

  it('keeps the note when the thumb changes', async () => {
    const { client } = await shown(
      trace({ scores: [score({ explanation: 'wrong city' })] })
    );
    expect(button(/Good/)).toHaveAttribute('aria-pressed', 'true');
    expect(screen.getAllByText('wrong city')[0]).toBeInTheDocument();
    await press('-');
    expect(client.score).toHaveBeenCalledWith(
      idOf(1),
      'thumb',
      'down',
      'wrong city'
    );
  });

  it('undoes by scoring again what was there before', async () => {
    const { client } = await shown(trace({ scores: [score()] }));
    expect(button('Undo')).toBeDisabled();
    await press('-');
    await press('u');
    expect(client.score).toHaveBeenLastCalledWith(idOf(1), 'thumb', 'up', '');
    expect(button('Undo')).toBeDisabled();
  });

  it('undoes a first score with none, which no longer counts', async () => {
    const { client } = await shown(
      trace({ scores: [score({ label: NONE, value: null })] })
    );
    expect(button(/Good/)).toHaveAttribute('aria-pressed', 'false');
    await press('+');
    await press('u');
    expect(client.score).toHaveBeenLastCalledWith(idOf(1), 'thumb', 'none', '');
  });

  it('puts a note with the thumb, else under a name of its own', async () => {
    const askText = jest.fn(async () => 'too long');
    const { client } = await shown(trace({ scores: [score()] }), { askText });
    await press('n');
    expect(client.score).toHaveBeenCalledWith(
      idOf(1),
      'thumb',
      'up',
      'too long'
    );
    cleanup();
    const { client: other } = await shown(trace(), { askText });
    await press('n');
    expect(other.score).toHaveBeenCalledWith(
      idOf(1),
      'note',
      'noted',
      'too long'
    );
  });

  it('takes no score by a judge for the person’s', async () => {
    await shown(
      trace({ scores: [score({ source: 'judge', identifier: 'j' })] })
    );
    expect(button(/Good/)).toHaveAttribute('aria-pressed', 'false');
  });

  it('leaves keys alone that are typed, held with others, or used already', async () => {
    const { client, go } = await shown();
    const input = document.createElement('input');
    detail().append(input);
    fireEvent.keyDown(input, { key: '+' });
    fireEvent.keyDown(input, { key: 'j' });
    await press('+', { ctrlKey: true });
    await press('-', { metaKey: true });
    const used = new KeyboardEvent('keydown', {
      key: '-',
      bubbles: true,
      cancelable: true
    });
    used.preventDefault();
    act(() => void detail().dispatchEvent(used));
    await pass();
    expect(client.score).not.toHaveBeenCalled();
    expect(go).not.toHaveBeenCalled();
    input.remove();
  });

  it('says why a score was not kept', async () => {
    const { client, host } = await shown();
    client.score.mockRejectedValue(
      new ApiError(403, 'ReadOnly', 'This store is read only.')
    );
    await press('+');
    expect(host.notify).toHaveBeenCalledWith(
      'This store is read only.',
      'error'
    );
    expect(button('Undo')).toBeDisabled();
  });

  it('names its keys', async () => {
    await shown();
    fireEvent.click(screen.getByText('Keys'));
    expect(screen.getByText('good: score thumb=up')).toBeInTheDocument();
  });
});

describe('what can be done', () => {
  it('opens the cell, and says so if it is gone', async () => {
    const openCell = jest.fn(async () => false);
    const { host } = await shown(trace(), { openCell });
    fireEvent.click(button('Cell'));
    await pass();
    expect(openCell).toHaveBeenCalledWith(
      '/home/me/project/first.ipynb',
      'abc'
    );
    expect(host.notify.mock.calls[0][0]).toMatch(
      /^The cell cannot be shown: .* first\.ipynb has moved/
    );
  });

  it('has no cell to open where none made it', async () => {
    await shown(trace({ notebook: null, cell_id: null }));
    expect(button('Cell')).toBeDisabled();
  });

  it('opens the trace in the main area', async () => {
    const { host } = await shown();
    fireEvent.click(button('Open'));
    expect(host.openTrace).toHaveBeenCalledWith(idOf(1));
  });

  it('puts the cell that runs it again into the notebook', async () => {
    const { host } = await shown();
    fireEvent.click(button('Replay'));
    await pass();
    const [cell, options] = host.insertCell.mock.calls[0];
    expect(cell).toContain('name = "Ada"');
    expect(cell).toContain('%prompt run greet@1 -m smollm2');
    expect(options?.run ?? false).toBe(false);
  });

  it('says that a notebook must be open for a replay', async () => {
    const { host } = await shown(trace(), {
      insertCell: jest.fn(async () => false)
    });
    fireEvent.click(button('Replay'));
    await pass();
    expect(host.notify.mock.calls[0][0]).toMatch(/Open a notebook first/);
  });

  it('says why a trace cannot be replayed', async () => {
    const { host } = await shown(
      trace({ spans: [span({ prompt: '', input: [] })] })
    );
    fireEvent.click(button('Replay'));
    await pass();
    expect(host.insertCell).not.toHaveBeenCalled();
    expect(host.notify).toHaveBeenCalledWith(expect.any(String), 'error');
  });

  it('adds the trace to a data set', async () => {
    const { client } = await shown(trace(), {
      askText: jest.fn(async () => 'new-one')
    });
    fireEvent.click(button('Add to data set…'));
    await pass();
    expect(client.collect).toHaveBeenCalledWith('new-one', [idOf(1)]);
  });

  it('copies the id and the answer', async () => {
    const { host } = await shown();
    fireEvent.click(button('Copy id'));
    fireEvent.click(button('Copy answer'));
    await pass();
    expect(host.copy.mock.calls).toEqual([[idOf(1)], ['Good day']]);
  });
});

it('shows how long an open trace has taken, as time goes on', async () => {
  await shown(
    trace({
      status: 'open',
      started_at: '2026-01-31T12:04:58.000+00:00',
      spans: [span({ status: 'open', end_ns: null, duration_s: null })]
    })
  );
  expect(screen.getByRole('timer')).toHaveTextContent('2 s');
  await pass(5000);
  expect(screen.getByRole('timer')).toHaveTextContent('7 s');
});

it('says what interrupted means', async () => {
  await shown(trace({ status: 'interrupted' }));
  expect(screen.getByText(/its kernel ended/)).toBeInTheDocument();
});

it('shows what the store holds as letters and nothing else', async () => {
  await shown(
    trace({
      notebook: HOSTILE,
      spans: [
        span({
          prompt: HOSTILE,
          name: HOSTILE,
          input: [{ role: HOSTILE, content: HOSTILE }],
          output: [{ role: 'assistant', content: HOSTILE }],
          error_message: HOSTILE,
          attributes: { [HOSTILE]: HOSTILE }
        })
      ],
      scores: [score({ name: HOSTILE, label: HOSTILE, explanation: HOSTILE })]
    })
  );
  expect(document.body.textContent).toContain('<script>window.ran = 1');
  expect(
    document.querySelector('script, img, style, iframe, a[href^=javascript]')
  ).toBeNull();
  expect((window as { ran?: number }).ran).toBeUndefined();
});
