import { NotebookActions, NotebookPanel } from '@jupyterlab/notebook';

/** Put a code cell below the active one and go to it; false where the notebook cannot be changed, or it did not run. */
export async function insert(
  panel: NotebookPanel,
  source: string,
  run: boolean
): Promise<boolean> {
  await panel.context.ready;
  const notebook = panel.content;
  if (!notebook.model || notebook.model.readOnly) {
    return false;
  }
  notebook.deselectAll();
  NotebookActions.insertBelow(notebook);
  const cell = notebook.activeCell;
  if (!cell) {
    return false;
  }
  if (cell.model.type !== 'code') {
    NotebookActions.changeCellType(notebook, 'code');
  }
  notebook.activeCell?.model.sharedModel.setSource(source);
  await notebook.scrollToItem(notebook.activeCellIndex, 'auto');
  if (run) {
    return NotebookActions.run(notebook, panel.sessionContext);
  }
  notebook.activate();
  return true;
}
