import '@testing-library/jest-dom';

import {
  act,
  cleanup,
  fireEvent,
  render,
  screen,
  within
} from '@testing-library/react';
import * as React from 'react';

import { IHost } from '../../host';
import { ApiError } from '../../request';
import { sized } from '../../shared/__tests__/sized';
import { PAUSE_MS } from '../filterbar';
import { TraceList } from '../list';
import { forget, memoryOf } from '../memory';
import Section from '../section';
import {
  FakeStore,
  FakeWatched,
  HOSTILE,
  clientOf,
  hostOf,
  idOf,
  trans
} from './stand_ins';

let unsized: () => void;
beforeEach(() => {
  jest.useFakeTimers();
  jest.setSystemTime(new Date('2026-01-31T12:05:00Z'));
  unsized = sized(640, 64);
});
afterEach(() => {
  cleanup();
  forget();
  unsized();
  jest.useRealTimers();
});

/** Let answers come and timers of a while go off. */
const pass = (ms = 0) => act(() => jest.advanceTimersByTimeAsync(ms));

interface IShown {
  store: FakeStore;
  watched: FakeWatched;
  client: ReturnType<typeof clientOf>;
  host: ReturnType<typeof hostOf>;
  go: jest.Mock;
  news: () => Promise<void>;
  again: () => Promise<void>;
  show: (item: string) => Promise<void>;
  leave: () => void;
}

async function shown(
  store: FakeStore,
  host: Partial<IHost> = {}
): Promise<IShown> {
  const client = clientOf(store);
  const watched = new FakeWatched(client);
  const faked = hostOf(host);
  const go = jest.fn();
  let view: ReturnType<typeof render>;
  const section = (item: string) => (
    <Section
      watched={watched.it}
      host={faked}
      trans={trans}
      item={item}
      go={go}
    />
  );
  const put = async () => {
    view = render(section(''));
    await pass();
  };
  await put();
  return {
    store,
    watched,
    client,
    host: faked,
    go,
    news: async () => {
      act(() => watched.news.emit(new Set(['traces'] as const)));
      await pass();
    },
    again: put,
    show: async item => {
      view.rerender(section(item));
      await pass();
    },
    leave: () => view.unmount()
  };
}

const box = () => screen.getByRole('listbox');
const rows = () => within(box()).getAllByRole('option');
const counted = () =>
  document.querySelector('.jp-LLMOps-traces-count > span')?.textContent;
const scroll = (top: number) => {
  box().scrollTop = top;
  fireEvent.scroll(box());
};
const key = (name: string, more = {}) =>
  fireEvent.keyDown(box(), { key: name, ...more });

it('shows of each trace when, what, how and the first words of the answer', async () => {
  await shown(new FakeStore(3));
  const [first] = rows();
  expect(first).toHaveTextContent('greet@1');
  expect(first).toHaveTextContent('5 minutes ago');
  expect(first).toHaveTextContent('ok');
  expect(first).toHaveTextContent('smollm2');
  expect(first).toHaveTextContent('1.5 s');
  expect(first).toHaveTextContent('12 → 34');
  expect(first).toHaveTextContent('answer 3');
});

it('shows the last of 100,000 traces with few rows in the document', async () => {
  const store = new FakeStore(100_000);
  const list = new TraceList(store, {});
  while (list.isMore) {
    await list.more();
  }
  memoryOf('w').list = list;
  await shown(store);
  for (const name of ['End', 'PageUp', 'Home', 'PageDown', 'End']) {
    key(name);
    fireEvent.scroll(box());
    await pass();
    expect(rows().length).toBeLessThan(60);
    expect(box().querySelector('[aria-busy]')).toBeNull();
  }
  expect(screen.getByText('answer 1')).toBeInTheDocument();
  expect(counted()).toBe('100,000 traces');
}, 30_000);

it('says how to make a first trace where there is none', async () => {
  await shown(new FakeStore(0));
  expect(screen.getByText(/No traces yet/)).toBeInTheDocument();
  expect(screen.getByText(/%%prompt/)).toBeInTheDocument();
});

it('shows that it is loading, and the server’s sentence when that fails', async () => {
  const store = new FakeStore(3);
  store.held = [];
  store.faults = [new ApiError(500, 'StoreError', 'The store is broken.')];
  await shown(store);
  expect(screen.getByText('Loading…')).toBeInTheDocument();
  const held = store.held;
  store.held = null;
  held.forEach(go => go());
  await pass();
  expect(screen.getByRole('alert')).toHaveTextContent('The store is broken.');
  fireEvent.click(screen.getByText('Try again'));
  await pass();
  expect(rows()).toHaveLength(3);
});

it('goes on by itself when the server answers again', async () => {
  const store = new FakeStore(3);
  store.faults = [new ApiError(0, 'Unreachable', 'gone')];
  const { watched } = await shown(store);
  expect(screen.getByRole('alert')).toBeInTheDocument();
  act(() => watched.changed.emit());
  await pass();
  expect(rows()).toHaveLength(3);
});

it('lets a new trace in at the top without asking for all again', async () => {
  const { store, news } = await shown(new FakeStore(300));
  store.asked.length = 0;
  store.add({ preview: 'brand new' });
  await news();
  expect(rows()[0]).toHaveTextContent('brand new');
  expect(store.asked).toHaveLength(1);
});

it('keeps its place when it is scrolled away, counts what is new, and goes there', async () => {
  const { store, news } = await shown(new FakeStore(300));
  scroll(1000);
  store.add();
  store.add();
  await news();
  expect(box().scrollTop).toBe(1128);
  const button = screen.getByRole('button', { name: /2 new/ });
  fireEvent.click(button);
  expect(box().scrollTop).toBe(0);
  expect(screen.queryByRole('button', { name: /new/ })).toBeNull();
});

it('begins anew at the top when more is new than it can count', async () => {
  const { store, news } = await shown(new FakeStore(300));
  scroll(1000);
  for (let i = 0; i < 1000; i++) {
    store.add();
  }
  await news();
  fireEvent.click(screen.getByRole('button', { name: /More than 100 new/ }));
  await pass();
  expect(rows()[0]).toHaveTextContent('answer 1300');
});

it('shows how long a running trace has taken so far, and that it has ended', async () => {
  const store = new FakeStore(2);
  store.add({
    status: 'open',
    duration_s: null,
    started_at: '2026-01-31T12:04:50.000+00:00',
    preview: ''
  });
  const { news } = await shown(store);
  expect(rows()[0]).toHaveTextContent('running');
  expect(rows()[0]).toHaveTextContent('10 s');
  await pass(3000);
  expect(rows()[0]).toHaveTextContent('13 s');
  store.change(3, { status: 'ok', duration_s: 14, preview: 'done' });
  await news();
  expect(rows()[0]).toHaveTextContent('14 s');
  expect(rows()[0]).toHaveTextContent('done');
});

it('marks traces that were interrupted', async () => {
  const store = new FakeStore(1);
  store.change(1, { status: 'interrupted', duration_s: null });
  await shown(store);
  expect(rows()[0]).toHaveTextContent('interrupted');
});

describe('filters', () => {
  const search = () => screen.getByRole('searchbox');

  it('searches a moment after the last letter, and drops the answers before', async () => {
    const { store } = await shown(new FakeStore(300));
    store.asked.length = 0;
    fireEvent.change(search(), { target: { value: 'answer 2' } });
    await pass(PAUSE_MS / 2);
    fireEvent.change(search(), { target: { value: 'answer 29' } });
    await pass(PAUSE_MS);
    expect(store.asked.map(q => q.filters)).toEqual([{ q: 'answer 29' }]);
    expect(rows()).toHaveLength(11);
    expect(counted()).toBe('11 traces match');
  });

  it('shows the answer to the last question, whichever comes last', async () => {
    const { store } = await shown(new FakeStore(300));
    const held: (() => void)[] = [];
    store.held = held;
    fireEvent.change(search(), { target: { value: 'answer 11' } });
    await pass(PAUSE_MS);
    fireEvent.change(search(), { target: { value: 'answer 299' } });
    await pass(PAUSE_MS);
    store.held = null;
    expect(held).toHaveLength(2);
    held[1]();
    await pass();
    held[0]();
    await pass();
    expect(rows()).toHaveLength(1);
    expect(rows()[0]).toHaveTextContent('answer 299');
  });

  it('clears the search with Escape', async () => {
    const { store } = await shown(new FakeStore(30));
    fireEvent.change(search(), { target: { value: 'answer 1' } });
    await pass(PAUSE_MS);
    fireEvent.keyDown(search(), { key: 'Escape' });
    await pass(PAUSE_MS);
    expect(search()).toHaveValue('');
    expect(store.asked[store.asked.length - 1].filters).toEqual({});
    expect(counted()).toBe('30 traces');
  });

  it('keeps the space after a word while one types on', async () => {
    await shown(new FakeStore(30));
    fireEvent.change(search(), { target: { value: 'answer ' } });
    await pass(PAUSE_MS);
    expect(search()).toHaveValue('answer ');
  });

  it('offers what the traces have and shows what is set, to be taken away', async () => {
    const store = new FakeStore(10);
    store.change(4, { status: 'error' });
    const { client } = await shown(store);
    expect(client.facets).not.toHaveBeenCalled();
    fireEvent.click(screen.getByRole('button', { name: 'Filter' }));
    await pass();
    expect(
      screen.getByRole('option', { name: 'thumb=down (2)' })
    ).toBeInTheDocument();
    fireEvent.change(screen.getByLabelText('Status'), {
      target: { value: 'error' }
    });
    await pass();
    expect(counted()).toBe('1 trace matches');
    fireEvent.click(
      screen.getByRole('button', { name: 'Remove filter Status: error' })
    );
    await pass();
    expect(counted()).toBe('10 traces');
  });

  it('are still there when one comes back to the section', async () => {
    const { again, leave, store } = await shown(new FakeStore(30));
    fireEvent.change(search(), { target: { value: 'answer 1' } });
    await pass(PAUSE_MS);
    leave();
    await again();
    expect(search()).toHaveValue('answer 1');
    expect(store.asked[store.asked.length - 1].filters).toEqual({
      q: 'answer 1'
    });
  });

  it('say which of them keeps all traces away', async () => {
    const { store } = await shown(new FakeStore(30));
    fireEvent.change(search(), { target: { value: 'answer 1' } });
    await pass(PAUSE_MS);
    fireEvent.click(screen.getByRole('button', { name: 'Filter' }));
    await pass();
    fireEvent.change(screen.getByLabelText('Status'), {
      target: { value: 'error' }
    });
    await pass();
    expect(screen.getByText('No trace matches.')).toBeInTheDocument();
    expect(screen.queryByRole('button', { name: /Drop Text/ })).toBeNull();
    fireEvent.click(screen.getByRole('button', { name: 'Drop Status: error' }));
    await pass();
    expect(store.asked[store.asked.length - 1].filters).toEqual({
      q: 'answer 1'
    });
    expect(rows().length).toBeGreaterThan(0);
  });

  it('hold to the notebook in front, if there is one', async () => {
    const store = new FakeStore(10);
    store.change(3, { notebook: '/home/me/project/other.ipynb' });
    await shown(store, { notebook: () => 'project/other.ipynb' });
    fireEvent.click(screen.getByLabelText('This notebook only'));
    await pass();
    expect(rows()).toHaveLength(1);
    fireEvent.click(screen.getByLabelText('This notebook only'));
    await pass();
    expect(rows()).toHaveLength(10);
  });

  it('offer no notebook where none is in front', async () => {
    await shown(new FakeStore(1));
    expect(screen.queryByLabelText('This notebook only')).toBeNull();
  });
});

describe('several traces', () => {
  it('are marked with Shift and the arrows, and added to a data set', async () => {
    const { client, host } = await shown(new FakeStore(10), {
      askText: jest.fn(async () => 'gold')
    });
    key('Home');
    key('ArrowDown');
    key('ArrowDown', { shiftKey: true });
    key('ArrowDown', { shiftKey: true });
    expect(screen.getByText('3 selected')).toBeInTheDocument();
    expect(rows()[1]).toHaveAttribute('aria-selected', 'true');
    expect(rows()[0]).toHaveAttribute('aria-selected', 'false');
    fireEvent.click(screen.getByText('Add to data set…'));
    await pass();
    expect(host.askText).toHaveBeenCalledWith(
      'Add 3 traces to a data set',
      expect.any(String),
      ['gold']
    );
    expect(client.collect).toHaveBeenCalledWith('gold', [
      idOf(9),
      idOf(8),
      idOf(7)
    ]);
    expect(host.notify).toHaveBeenCalledWith(
      'gold@2: 3 rows added, 10 in all.',
      'success'
    );
    expect(screen.queryByText('3 selected')).toBeNull();
  });

  it('stay marked when that is called off or fails', async () => {
    const askText = jest.fn<Promise<string | null>, []>(async () => null);
    const { client, host } = await shown(new FakeStore(10), { askText });
    key('Home');
    key(' ');
    fireEvent.click(screen.getByText('Add to data set…'));
    await pass();
    expect(client.collect).not.toHaveBeenCalled();
    askText.mockResolvedValue('no name!');
    client.collect.mockRejectedValue(
      new ApiError(422, 'OptionError', 'That is no name.')
    );
    fireEvent.click(screen.getByText('Add to data set…'));
    await pass();
    expect(host.notify).toHaveBeenCalledWith('That is no name.', 'error');
    expect(screen.getByText('1 selected')).toBeInTheDocument();
  });

  it('are marked with the mouse, and Escape takes the marks away', async () => {
    const { go } = await shown(new FakeStore(10));
    fireEvent.click(rows()[2], { ctrlKey: true });
    fireEvent.click(rows()[5], { shiftKey: true });
    expect(screen.getByText('4 selected')).toBeInTheDocument();
    expect(go).not.toHaveBeenCalled();
    key('Escape');
    expect(screen.queryByText('4 selected')).toBeNull();
  });
});

it('opens the trace that is chosen, and comes back to where it was', async () => {
  const { go, show } = await shown(new FakeStore(300));
  scroll(1000);
  fireEvent.click(screen.getByText('answer 280'));
  expect(go).toHaveBeenCalledWith('traces', idOf(280));
  await show(idOf(280));
  expect(screen.queryByRole('listbox')).toBeNull();
  await show('');
  expect(box().scrollTop).toBe(1000);
  expect(box()).toHaveFocus();
});

it('is where it was after another section was shown, and takes no focus then', async () => {
  const { leave, again } = await shown(new FakeStore(300));
  scroll(1000);
  fireEvent.click(screen.getByText('answer 280'));
  leave();
  await again();
  expect(box().scrollTop).toBe(1000);
  expect(box()).not.toHaveFocus();
});

it('says below the list why no more rows come', async () => {
  const { store } = await shown(new FakeStore(300));
  store.faults = [new ApiError(500, 'StoreError', 'The store is broken.')];
  key('End');
  fireEvent.scroll(box());
  await pass();
  expect(within(box()).queryByRole('alert')).toBeNull();
  expect(screen.getByRole('alert')).toHaveTextContent('The store is broken.');
  fireEvent.click(screen.getByText('Try again'));
  await pass();
  expect(screen.queryByRole('alert')).toBeNull();
  expect(counted()).toBe('200+ traces');
});

it('shows what the store holds as letters and nothing else', async () => {
  const store = new FakeStore(0);
  for (let i = 0; i < 3; i++) {
    store.add({
      prompt: HOSTILE,
      name: HOSTILE,
      model: HOSTILE,
      preview: HOSTILE,
      notebook: HOSTILE,
      session: HOSTILE
    });
  }
  await shown(store);
  fireEvent.click(screen.getByRole('button', { name: 'Filter' }));
  await pass();
  fireEvent.change(screen.getByLabelText('Prompt'), {
    target: { value: HOSTILE }
  });
  await pass();
  expect(document.body.textContent).toContain('<script>window.ran = 1');
  expect(document.querySelector('script, img, a, style, iframe')).toBeNull();
  expect((window as { ran?: number }).ran).toBeUndefined();
});

it('shows the traces that another section leads to, and no trace of that name', async () => {
  const { store, client, go, show } = await shown(new FakeStore(3));
  await show('prompt:support@3 status:error');
  expect(store.asked.map(one => one.filters)).toContainEqual({
    prompt: 'support@3',
    status: 'error'
  });
  expect(go).toHaveBeenCalledWith('traces');
  expect(client.trace).not.toHaveBeenCalled();
});
