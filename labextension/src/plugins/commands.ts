import {
  JupyterFrontEnd,
  JupyterFrontEndPlugin
} from '@jupyterlab/application';
import { ICommandPalette } from '@jupyterlab/apputils';
import { IDocumentManager } from '@jupyterlab/docmanager';
import { ILauncher } from '@jupyterlab/launcher';
import { INotebookTracker } from '@jupyterlab/notebook';
import {
  ITranslator,
  nullTranslator,
  TranslationBundle
} from '@jupyterlab/translation';

import { icon } from '../shared/icon';
import { CommandIDs, ILLMOps } from '../tokens';

/** What our commands say they take. */
function takes(
  properties: Record<string, { type: string; description: string }>,
  required: string[] = []
) {
  return { args: { type: 'object', properties, required } };
}

export const commands: JupyterFrontEndPlugin<void> = {
  id: 'llmops-jupyter:commands',
  description: 'Commands that open cells, insert them, and begin a notebook.',
  autoStart: true,
  requires: [ILLMOps],
  optional: [
    IDocumentManager,
    INotebookTracker,
    ITranslator,
    ICommandPalette,
    ILauncher
  ],
  activate: (
    app: JupyterFrontEnd,
    { watched }: ILLMOps,
    documents: IDocumentManager | null,
    tracker: INotebookTracker | null,
    translator: ITranslator | null,
    palette: ICommandPalette | null,
    launcher: ILauncher | null
  ): void => {
    const trans = (translator ?? nullTranslator).load('llmops_jupyter');
    app.commands.addCommand(CommandIDs.refresh, {
      label: trans.__('Refresh LLM Operations'),
      describedBy: takes({}),
      execute: () => watched.refresh()
    });
    if (documents && tracker) {
      addCells(app, documents, tracker, trans);
      addNotebook(app, documents, tracker, trans);
      launcher?.add({
        command: CommandIDs.newNotebook,
        category: (translator ?? nullTranslator).load('jupyterlab').__('Other'),
        rank: 10
      });
    }
    const category = trans.__('LLM Operations');
    for (const command of [CommandIDs.newNotebook, CommandIDs.refresh]) {
      if (app.commands.hasCommand(command)) {
        palette?.addItem({ command, category });
      }
    }
  }
};

/** The commands that go to a cell and that insert one. */
function addCells(
  app: JupyterFrontEnd,
  documents: IDocumentManager,
  tracker: INotebookTracker,
  trans: TranslationBundle
): void {
  app.commands.addCommand(CommandIDs.openCell, {
    label: trans.__('Open the Cell of a Trace'),
    describedBy: takes(
      {
        notebook: {
          type: 'string',
          description: 'The notebook, as a trace keeps it.'
        },
        cellId: { type: 'string', description: 'The id of the cell.' }
      },
      ['notebook', 'cellId']
    ),
    execute: async args => {
      const { reveal } = await import('../notebooks/reveal');
      const [notebook, cell] = [String(args.notebook), String(args.cellId)];
      const came = await reveal(
        documents,
        tracker,
        id => app.shell.activateById(id),
        notebook,
        cell
      );
      return came === 'shown' || came === 'opened elsewhere';
    }
  });
  app.commands.addCommand(CommandIDs.insertCell, {
    label: trans.__('Insert a Prompt Cell'),
    isEnabled: () => tracker.currentWidget !== null,
    describedBy: takes(
      {
        source: { type: 'string', description: 'The text of the cell.' },
        run: { type: 'boolean', description: 'Whether to run it at once.' }
      },
      ['source']
    ),
    execute: async args => {
      const panel = tracker.currentWidget;
      if (!panel) {
        return false;
      }
      const { insert } = await import('../notebooks/insertion');
      app.shell.activateById(panel.id);
      return insert(panel, String(args.source), args.run === true);
    }
  });
}

/** The command that begins a notebook with a first prompt. */
function addNotebook(
  app: JupyterFrontEnd,
  documents: IDocumentManager,
  tracker: INotebookTracker,
  trans: TranslationBundle
): void {
  app.commands.addCommand(CommandIDs.newNotebook, {
    label: args =>
      args.isPalette || !args.cwd
        ? trans.__('New Prompt Notebook')
        : trans.__('Prompt Notebook'),
    caption: trans.__('Begin a notebook with a prompt that is ready to run'),
    icon,
    describedBy: takes({
      cwd: { type: 'string', description: 'The folder to make it in.' }
    }),
    execute: async args => {
      const { create, quickstart } = await import('../notebooks/quickstart');
      const { kernelspecs, contents } = app.serviceManager;
      await kernelspecs.ready;
      const specs = kernelspecs.specs;
      const spec = specs?.kernelspecs[specs.default] ?? null;
      const near = tracker.currentWidget?.context.path ?? '';
      const folder =
        typeof args.cwd === 'string'
          ? args.cwd
          : near.slice(0, Math.max(0, near.lastIndexOf('/')));
      const path = await create(contents, folder, quickstart(trans, spec));
      return documents.openOrReveal(path);
    }
  });
}
