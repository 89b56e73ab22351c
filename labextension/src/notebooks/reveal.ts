import { PageConfig } from '@jupyterlab/coreutils';
import { IDocumentManager } from '@jupyterlab/docmanager';
import { INotebookTracker, NotebookPanel } from '@jupyterlab/notebook';
import { Contents } from '@jupyterlab/services';

import { isSame, places } from './place';

/** What came of going to a cell. */
export type Revealed = 'shown' | 'opened elsewhere' | 'no cell' | 'no notebook';

/**
 * Go to the cell of a notebook by its id. `activate` brings a widget to the front.
 *
 * An open notebook that has the cell comes first; then the file is looked for below the server's root, and opened only
 * if the cell is in it.
 */
export async function reveal(
  documents: IDocumentManager,
  tracker: INotebookTracker,
  activate: (widgetId: string) => void,
  notebook: string,
  cellId: string
): Promise<Revealed> {
  const open = opened(tracker, notebook);
  const having = open.find(panel => indexOf(panel, cellId) >= 0);
  if (having) {
    activate(having.id); // Notebook 7 would open another tab for it, if it were asked to open it.
    await show(having, cellId);
    return 'shown';
  }
  const found = await look(documents.services.contents, notebook, cellId);
  if (typeof found === 'string') {
    return open.length ? 'no cell' : found;
  }
  const widget = documents.openOrReveal(found.path);
  if (!widget || !tracker.has(widget)) {
    return 'opened elsewhere'; // Notebook 7 opens another tab of the browser.
  }
  await widget.revealed;
  return (await show(widget as NotebookPanel, cellId)) ? 'shown' : 'no cell';
}

/** The open notebooks that a path may mean, those with the longest path first. */
function opened(tracker: INotebookTracker, notebook: string): NotebookPanel[] {
  const found: NotebookPanel[] = [];
  tracker.forEach(panel => {
    if (isSame(notebook, panel.context.localPath)) {
      found.push(panel);
    }
  });
  return found.sort(
    (a, b) => b.context.localPath.length - a.context.localPath.length
  );
}

/** The file below the server's root that has the cell. */
async function look(
  contents: Contents.IManager,
  notebook: string,
  cellId: string
): Promise<{ path: string } | 'no cell' | 'no notebook'> {
  let best: 'no cell' | 'no notebook' = 'no notebook';
  for (const path of places(notebook, PageConfig.getOption('serverRoot'))) {
    let model: Contents.IModel;
    try {
      model = await contents.get(path, { type: 'notebook', content: true });
    } catch {
      continue; // It is not there.
    }
    const cells: unknown = model.content?.cells;
    if (
      Array.isArray(cells) &&
      cells.some(cell => (cell as { id?: unknown } | null)?.id === cellId)
    ) {
      return { path };
    }
    best = 'no cell';
  }
  return best;
}

function indexOf(panel: NotebookPanel, cellId: string): number {
  const cells = panel.content.model?.cells;
  for (let at = 0; cells && at < cells.length; at += 1) {
    if (cells.get(at).id === cellId) {
      return at;
    }
  }
  return -1;
}

/** Make a cell the active one and scroll to it. */
async function show(panel: NotebookPanel, cellId: string): Promise<boolean> {
  await panel.context.ready;
  const at = indexOf(panel, cellId);
  if (at < 0) {
    return false;
  }
  const notebook = panel.content;
  notebook.deselectAll();
  notebook.mode = 'command';
  notebook.activeCellIndex = at;
  notebook.activate();
  await notebook.scrollToItem(at, 'center');
  return true;
}
