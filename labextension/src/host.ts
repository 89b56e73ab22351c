/** What the sections may do outside the panel. `plugins/host.ts` does it in JupyterLab and Notebook; tests fake it. */
export interface IHost {
  /** Show a trace with all its spans in the main area. */
  openTrace(traceId: string): void;

  /** Go to the cell that made something; false where the notebook or the cell is gone. */
  openCell(notebook: string, cellId: string): Promise<boolean>;

  /** The path of the notebook in front, below the server's root; null where none is. */
  notebook(): string | null;

  /** Put a cell below the active one of the current notebook, and run it if asked; false where none is open. */
  insertCell(source: string, options?: { run?: boolean }): Promise<boolean>;

  /** Ask before something that others will notice. `facts` are shown as lines. */
  confirm(title: string, facts: string[], action: string): Promise<boolean>;

  /** Ask for a line of text; null if it was cancelled. */
  askText(
    title: string,
    label: string,
    suggestions?: string[]
  ): Promise<string | null>;

  /** Say something without a dialog. */
  notify(text: string, kind?: 'success' | 'info' | 'error'): void;

  copy(text: string): Promise<void>;
}
