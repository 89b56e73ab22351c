import { JupyterFrontEnd } from '@jupyterlab/application';
import { CommandRegistry } from '@lumino/commands';
import { Signal } from '@lumino/signaling';
import { Widget } from '@lumino/widgets';

import { CommandIDs } from '../../tokens';
import { commands } from '../commands';
import { trace } from '../trace';

const insert = jest.fn();
const reveal = jest.fn();
jest.mock('../../notebooks/insertion', () => ({
  insert: (...given: unknown[]) => insert(...given)
}));
jest.mock('../../notebooks/reveal', () => ({
  reveal: (...given: unknown[]) => reveal(...given)
}));

class FakeWatched {
  news = new Signal<this, void>(this);
  changed = new Signal<this, void>(this);
  client = { workspace: 'w1', trace: async () => ({ spans: [] }) };
  fault = null;
  look = () => ({ isDisposed: false, dispose: () => undefined });
}

const watched = { refresh: jest.fn(), client: { workspace: 'w1' } };

function application() {
  const contents = {
    newUntitled: jest.fn(async () => ({ path: 'made.ipynb' })),
    save: jest.fn()
  };
  return {
    contents,
    app: {
      commands: new CommandRegistry(),
      shell: { activateById: jest.fn() },
      serviceManager: {
        contents,
        kernelspecs: { ready: Promise.resolve(), specs: null }
      }
    } as unknown as JupyterFrontEnd
  };
}

function started(tracker: unknown) {
  const { app, contents } = application();
  const documents = { openOrReveal: jest.fn() };
  const palette = { addItem: jest.fn() };
  const launcher = { add: jest.fn() };
  void commands.activate(
    app,
    { watched },
    ...[documents, tracker, null, palette, launcher]
  );
  return { app, contents, documents, palette, launcher };
}

test('each command says what it takes', async () => {
  const { app } = started({ currentWidget: null });
  for (const id of [
    CommandIDs.openCell,
    CommandIDs.insertCell,
    CommandIDs.refresh,
    CommandIDs.newNotebook
  ]) {
    const { args } = await app.commands.describedBy(id);
    expect(args).toMatchObject({ type: 'object' });
  }
});

test('the launcher and the palette offer a new notebook', () => {
  const { launcher, palette } = started({ currentWidget: null });
  expect(launcher.add).toHaveBeenCalledWith(
    expect.objectContaining({ command: CommandIDs.newNotebook })
  );
  expect(palette.addItem.mock.calls.map(([item]) => item.command)).toEqual([
    CommandIDs.newNotebook,
    CommandIDs.refresh
  ]);
});

test('without notebooks only refreshing is left', () => {
  const { app } = application();
  const none = [null, null, null, null, null];
  void commands.activate(app, { watched }, ...none);
  expect(app.commands.listCommands()).toEqual([CommandIDs.refresh]);
});

test.each([
  ['shown', true],
  ['opened elsewhere', true],
  ['no cell', false],
  ['no notebook', false]
])('opening a cell that is %p answers %p', async (came, answer) => {
  reveal.mockResolvedValue(came);
  const { app } = started({ currentWidget: null });
  const args = { notebook: 'a.ipynb', cellId: 'c' };
  expect(await app.commands.execute(CommandIDs.openCell, args)).toBe(answer);
  expect(reveal.mock.calls.pop().slice(3)).toEqual(['a.ipynb', 'c']);
});

test('a cell is inserted into the notebook in front, and run only if asked', async () => {
  insert.mockResolvedValue(true);
  const panel = { id: 'n1', context: { path: 'a.ipynb' } };
  const { app } = started({ currentWidget: panel });
  await app.commands.execute(CommandIDs.insertCell, { source: '%%prompt p' });
  expect(insert).toHaveBeenLastCalledWith(panel, '%%prompt p', false);
  const args = { source: 'x', run: true };
  await app.commands.execute(CommandIDs.insertCell, args);
  expect(insert).toHaveBeenLastCalledWith(panel, 'x', true);
});

test('without a notebook no cell can be inserted', () => {
  const { app } = started({ currentWidget: null });
  expect(app.commands.isEnabled(CommandIDs.insertCell)).toBe(false);
});

test('a notebook is made beside the one in front, or where it was asked for', async () => {
  const panel = { id: 'n1', context: { path: 'sub/a.ipynb' } };
  const { app, contents, documents } = started({ currentWidget: panel });
  await app.commands.execute(CommandIDs.newNotebook);
  await app.commands.execute(CommandIDs.newNotebook, { cwd: '' });
  expect(contents.newUntitled.mock.calls).toEqual([
    [{ path: 'sub', type: 'notebook' }],
    [{ path: '', type: 'notebook' }]
  ]);
  expect(documents.openOrReveal).toHaveBeenCalledWith('made.ipynb');
});

test('a trace is shown in the panel where the main area holds one document', async () => {
  const { app } = application();
  const show = jest.fn();
  app.commands.addCommand(CommandIDs.showSection, {
    describedBy: { args: {} },
    execute: show
  });
  void trace.activate(app, { watched }, ...[null, null, null]);
  await app.commands.execute(CommandIDs.openTrace, { traceId: 't1' });
  expect(show).toHaveBeenCalledWith(
    expect.objectContaining({ section: 'traces', item: 't1' })
  );
});

test('a trace has one tab, and a new one after that was closed', async () => {
  const { app } = application();
  const added: Widget[] = [];
  const labShell = {
    add: (tab: Widget) => added.push(tab),
    activateById: jest.fn()
  };
  void trace.activate(
    app,
    { watched: new FakeWatched() },
    ...[null, null, labShell]
  );
  const open = (traceId: string) =>
    app.commands.execute(CommandIDs.openTrace, { traceId });
  await open('t1');
  await open('t2');
  await open('t1');
  expect(new Set(added).size).toBe(2);
  const [first] = added;
  first.dispose();
  await open('t1');
  expect(new Set(added).size).toBe(3);
  expect(await open('')).toBe(false);
  added.forEach(tab => tab.dispose());
});
