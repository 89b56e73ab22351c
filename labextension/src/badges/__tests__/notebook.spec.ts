import { NotebookPanel } from '@jupyterlab/notebook';
import { nullTranslator } from '@jupyterlab/translation';
import { Signal } from '@lumino/signaling';
import { Panel, PanelLayout, Widget } from '@lumino/widgets';

import { ICell, Topic } from '../../api';
import { Watched } from '../../watched';
import { NotebookBadges } from '../notebook';

const trans = nullTranslator.load('llmops_jupyter');

/** A cell as far as badges need it; `inputArea` comes with `draw`, as it does in a windowed notebook. */
class FakeCell extends Widget {
  inputArea: Widget | null = null;
  model: { id: string; type: string; sharedModel: { getSource(): string } };

  constructor(
    id: string,
    public source: string
  ) {
    super();
    this.layout = new PanelLayout();
    this.model = {
      ...{ id, type: 'code' },
      sharedModel: { getSource: () => this.source }
    };
  }

  draw(): this {
    const wrapper = new Panel();
    this.inputArea = new Widget();
    wrapper.addWidget(this.inputArea);
    (this.layout as PanelLayout).addWidget(wrapper);
    (this.layout as PanelLayout).addWidget(new Widget());
    return this;
  }

  get badge(): HTMLButtonElement | null {
    return this.node.querySelector('.jp-LLMOps-cell button');
  }
}

class FakePanel extends Widget {
  context = {
    localPath: 'a.ipynb',
    ready: Promise.resolve(),
    pathChanged: new Signal<object, string>({})
  };
  content: {
    widgets: FakeCell[];
    modelContentChanged: Signal<object, void>;
    modelChanged: Signal<object, void>;
    cellInViewportChanged: Signal<object, unknown>;
    model: unknown;
  };

  constructor(cells: FakeCell[]) {
    super();
    this.content = {
      widgets: cells,
      modelContentChanged: new Signal<object, void>({}),
      modelChanged: new Signal<object, void>({}),
      cellInViewportChanged: new Signal<object, unknown>({}),
      model: {
        cells: {
          get length() {
            return cells.length;
          },
          get: (i: number) => cells[i].model
        }
      }
    };
  }

  touch(): void {
    this.content.modelContentChanged.emit(undefined);
  }
}

class FakeWatched {
  news = new Signal<this, ReadonlySet<Topic>>(this);
  changed = new Signal<this, void>(this);
  leases = 0;
  rows: ICell[] = [
    { cell_id: 'c1', prompt: 'p', version: 2, latest: 2, trace_id: 't' }
  ];
  cells = jest.fn(async () => ({ items: this.rows }));
  prompt = jest.fn(async () => ({
    versions: [
      { version: 2, template: 'user: hi\n' },
      { version: 1, template: 'user: ho\n' }
    ]
  }));
  client = { cells: this.cells, prompt: this.prompt };

  look() {
    this.leases += 1;
    return { isDisposed: false, dispose: () => (this.leases -= 1) };
  }
}

function made(cells: FakeCell[], attach = true) {
  const panel = new FakePanel(cells);
  const watched = new FakeWatched();
  const showChanges = jest.fn();
  const badges = new NotebookBadges(
    panel as unknown as NotebookPanel,
    watched as unknown as Watched,
    trans,
    showChanges
  );
  if (attach) {
    Widget.attach(panel, document.body);
  }
  return { panel, watched, badges, showChanges };
}

/** Let the badges' rest and all answers pass. */
async function pass(): Promise<void> {
  for (let turn = 0; turn < 6; turn += 1) {
    await jest.advanceTimersByTimeAsync(400);
  }
}

beforeEach(() => {
  jest.useFakeTimers();
});

afterEach(() => {
  jest.useRealTimers();
});

const code = (id: string, source: string) => new FakeCell(id, source);
const prompt = (id = 'c1', body = 'user: hi') =>
  new FakeCell(id, `%%prompt p\n${body}`);

test('prompt cells get their version by one question for the whole notebook', async () => {
  const cells = [
    prompt().draw(),
    ...Array.from({ length: 50 }, (_, i) => prompt(`x${i}`).draw())
  ];
  const { watched, badges } = made(cells);
  await pass();
  expect(cells[0].badge?.textContent).toBe('p@2');
  expect(cells[1].badge).toBeNull();
  expect(watched.cells).toHaveBeenCalledTimes(1);
  expect(watched.cells).toHaveBeenCalledWith('a.ipynb');
  expect(watched.prompt).toHaveBeenCalledTimes(1);
  badges.dispose();
  expect(cells[0].badge).toBeNull();
});

test('typing marks the cell without asking again', async () => {
  const cell = prompt().draw();
  const { panel, watched, badges } = made([cell]);
  await pass();
  cell.source = '%%prompt p\nuser: hi there';
  panel.touch();
  await pass();
  expect(cell.badge?.textContent).toBe('p@2 · changed');
  cell.source = 'print(1)';
  panel.touch();
  await pass();
  expect(cell.badge).toBeNull();
  expect(watched.cells).toHaveBeenCalledTimes(1);
  badges.dispose();
});

test('news asks again, and of prompts for their versions too', async () => {
  const cell = prompt().draw();
  const { watched, badges } = made([cell]);
  await pass();
  watched.rows = [{ ...watched.rows[0], latest: 3 }];
  watched.news.emit(new Set<Topic>(['traces', 'prompts']));
  await pass();
  expect(cell.badge?.textContent).toBe('p@2 · newest is @3');
  expect(watched.prompt).toHaveBeenCalledTimes(2);
  watched.news.emit(new Set<Topic>(['monitor']));
  await pass();
  expect(watched.cells).toHaveBeenCalledTimes(2);
  badges.dispose();
});

test('a cell out of sight gets its badge when it is drawn', async () => {
  const cell = prompt();
  const { panel, badges } = made([cell]);
  await pass();
  expect(cell.badge).toBeNull();
  cell.draw();
  panel.content.cellInViewportChanged.emit(cell);
  await pass();
  expect(cell.badge).not.toBeNull();
  const { widgets } = cell.layout as PanelLayout;
  expect(widgets[1].node.contains(cell.badge)).toBe(true);
  badges.dispose();
});

test('a cell that is moved has a new widget and gets its badge there', async () => {
  const cells = [prompt().draw()];
  const { panel, badges } = made(cells);
  await pass();
  cells[0].dispose();
  cells[0] = prompt().draw();
  panel.touch();
  await pass();
  expect(cells[0].badge?.textContent).toBe('p@2');
  badges.dispose();
});

test('a notebook without prompts, or one that is not seen, asks nothing', async () => {
  const without = made([code('c1', 'print(1)').draw()]);
  const unseen = made([prompt().draw()], false);
  await pass();
  for (const { watched, badges } of [without, unseen]) {
    expect(watched.cells).not.toHaveBeenCalled();
    expect(watched.leases).toBe(0);
    badges.dispose();
  }
});

test('hiding the notebook gives the lease back, showing it takes one', async () => {
  const { panel, watched, badges } = made([prompt().draw()]);
  await pass();
  expect(watched.leases).toBe(1);
  panel.hide();
  await pass();
  expect(watched.leases).toBe(0);
  panel.show();
  await pass();
  expect(watched.leases).toBe(1);
  badges.dispose();
  expect(watched.leases).toBe(0);
});

test('a click shows the changes', async () => {
  const cell = prompt().draw();
  const { watched, showChanges, badges } = made([cell]);
  await pass();
  cell.badge?.click();
  expect(showChanges).toHaveBeenCalledWith(
    watched.client,
    expect.objectContaining({ prompt: 'p', version: 2, previous: 1 })
  );
  badges.dispose();
});

test('closing the notebook while it asks leaves nothing behind', async () => {
  const cell = prompt().draw();
  const { panel, watched, badges } = made([cell]);
  await jest.advanceTimersByTimeAsync(350);
  badges.dispose();
  panel.dispose();
  await pass();
  expect(cell.badge).toBeNull();
  expect(watched.leases).toBe(0);
});

test('a server that fails leaves the notebook as it is', async () => {
  const cell = prompt().draw();
  const { watched, badges } = made([cell]);
  watched.cells.mockRejectedValue(new Error('down'));
  await pass();
  expect(cell.badge).toBeNull();
  expect(watched.cells.mock.calls.length).toBeLessThan(3);
  badges.dispose();
});
