import { IDocumentManager } from '@jupyterlab/docmanager';
import { INotebookTracker } from '@jupyterlab/notebook';

import { reveal } from '../reveal';

/** A notebook panel as far as going to a cell needs it. */
function panel(path: string, ids: string[]) {
  return {
    id: `id of ${path}`,
    context: { path, localPath: path, ready: Promise.resolve() },
    revealed: Promise.resolve(),
    content: {
      model: {
        cells: { length: ids.length, get: (i: number) => ({ id: ids[i] }) }
      },
      mode: 'edit',
      activeCellIndex: 0,
      deselectAll: jest.fn(),
      activate: jest.fn(),
      scrollToItem: jest.fn(async () => undefined)
    }
  };
}

type Panel = ReturnType<typeof panel>;

/** A server with files, and what is open. */
function application(files: Record<string, string[]>, open: Panel[]) {
  const get = jest.fn(async (path: string) => {
    if (!(path in files)) {
      throw new Error('404');
    }
    return { content: { cells: files[path].map(id => ({ id })) } };
  });
  const openOrReveal = jest.fn((path: string) => {
    const known = open.find(one => one.context.path === path);
    if (known || !(path in files)) {
      return known;
    }
    const made = panel(path, files[path]);
    open.push(made);
    return made;
  });
  const documents = { services: { contents: { get } }, openOrReveal };
  const tracker = {
    forEach: (f: (one: Panel) => void) => open.forEach(f),
    has: (one: Panel) => open.includes(one)
  };
  const activate = jest.fn();
  return {
    activate,
    get,
    openOrReveal,
    go: (notebook: string, cell: string) =>
      reveal(
        documents as unknown as IDocumentManager,
        tracker as unknown as INotebookTracker,
        activate,
        notebook,
        cell
      )
  };
}

test('an open notebook that has the cell is shown without asking the server', async () => {
  const shown = panel('a/b.ipynb', ['x', 'y']);
  const app = application({}, [panel('b.ipynb', ['z']), shown]);
  expect(await app.go('/srv/a/b.ipynb', 'y')).toBe('shown');
  expect(shown.content.activeCellIndex).toBe(1);
  expect(shown.content.mode).toBe('command');
  expect(shown.content.scrollToItem).toHaveBeenCalledWith(1, 'center');
  expect(app.activate).toHaveBeenCalledWith('id of a/b.ipynb');
  expect(app.get).not.toHaveBeenCalled();
  expect(app.openOrReveal).not.toHaveBeenCalled();
});

test('a closed notebook is found by the end of its path, and only if the cell is in it', async () => {
  const open: Panel[] = [];
  const app = application({ 'b.ipynb': ['other'], 'a/b.ipynb': ['x'] }, open);
  expect(await app.go('/somewhere/a/b.ipynb', 'x')).toBe('shown');
  expect(open.map(one => one.context.path)).toEqual(['a/b.ipynb']);
});

test('a notebook of the same name without the cell is not opened', async () => {
  const app = application({ 'b.ipynb': ['other'] }, []);
  expect(await app.go('/somewhere/a/b.ipynb', 'x')).toBe('no cell');
  expect(app.openOrReveal).not.toHaveBeenCalled();
});

test('a notebook that is nowhere is told', async () => {
  expect(await application({}, []).go('/a/b.ipynb', 'x')).toBe('no notebook');
});

test('a cell that was deleted from an open notebook is told', async () => {
  const app = application({}, [panel('b.ipynb', ['z'])]);
  expect(await app.go('/a/b.ipynb', 'x')).toBe('no cell');
});

test('a notebook that opens in another tab of the browser counts as opened', async () => {
  const app = application({ 'b.ipynb': ['x'] }, []);
  app.openOrReveal.mockReturnValue(undefined);
  expect(await app.go('/a/b.ipynb', 'x')).toBe('opened elsewhere');
});
