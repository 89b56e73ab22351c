import {
  ILabShell,
  ILayoutRestorer,
  JupyterFrontEnd,
  JupyterFrontEndPlugin
} from '@jupyterlab/application';
import { MainAreaWidget, WidgetTracker } from '@jupyterlab/apputils';
import { ITranslator, nullTranslator } from '@jupyterlab/translation';
import { Widget } from '@lumino/widgets';

import { icon } from '../shared/icon';
import { CommandIDs, ILLMOps } from '../tokens';

/** Which trace a tab shows, and of which workspace. */
interface IShown {
  traceId: string;
  workspace: string;
}

export const trace: JupyterFrontEndPlugin<void> = {
  id: 'llmops-jupyter:trace',
  description: 'Shows a whole trace in the main area, one tab for each.',
  autoStart: true,
  requires: [ILLMOps],
  optional: [ITranslator, ILayoutRestorer, ILabShell],
  activate: (
    app: JupyterFrontEnd,
    { watched }: ILLMOps,
    translator: ITranslator | null,
    restorer: ILayoutRestorer | null,
    labShell: ILabShell | null
  ): void => {
    const trans = (translator ?? nullTranslator).load('llmops_jupyter');
    const tracker = new WidgetTracker<MainAreaWidget>({
      namespace: 'llmops-jupyter-trace'
    });
    const tabs = new Map<string, MainAreaWidget>();
    const shown = new WeakMap<Widget, IShown>();

    const made = async (what: IShown): Promise<MainAreaWidget> => {
      const [{ TraceTab }, { openCell }] = await Promise.all([
        import('../renderer/tab'),
        import('./cell')
      ]);
      const key = `${what.workspace} ${what.traceId}`;
      const known = tabs.get(key);
      if (known) {
        return known;
      }
      const content = new TraceTab(
        ...([watched, trans, what.traceId, what.workspace] as const),
        openCell(app, trans)
      );
      const tab = new MainAreaWidget({ content });
      tab.id = `llmops-jupyter-trace-${encodeURIComponent(key)}`;
      tab.title.icon = icon;
      tab.title.closable = true;
      tab.toolbar.hide();
      tabs.set(key, tab);
      shown.set(tab, what);
      tab.disposed.connect(() => {
        tabs.delete(key);
      });
      return tab;
    };

    app.commands.addCommand(CommandIDs.openTrace, {
      label: trans.__('Open a Trace'),
      describedBy: {
        args: {
          type: 'object',
          properties: {
            traceId: { type: 'string', description: 'The id of the trace.' },
            workspace: {
              type: 'string',
              description: 'The id of its workspace, if it is not that shown.'
            }
          },
          required: ['traceId']
        }
      },
      execute: async args => {
        const traceId = typeof args.traceId === 'string' ? args.traceId : '';
        const workspace =
          typeof args.workspace === 'string' && args.workspace
            ? args.workspace
            : (watched.client?.workspace ?? '');
        if (!traceId) {
          return false;
        }
        if (!labShell) {
          // Notebook 7 has room for its document only.
          await app.commands.execute(CommandIDs.showSection, {
            section: 'traces',
            item: traceId
          });
          return true;
        }
        const tab = await made({ traceId, workspace });
        if (!tab.isAttached) {
          labShell.add(tab, 'main', { type: 'LLM Operations' });
        }
        if (!tracker.has(tab)) {
          await tracker.add(tab);
        }
        labShell.activateById(tab.id);
        return true;
      }
    });

    if (restorer) {
      void restorer.restore(tracker, {
        command: CommandIDs.openTrace,
        args: tab => ({ ...shown.get(tab) }),
        name: tab => {
          const what = shown.get(tab);
          return what ? `${what.workspace}:${what.traceId}` : '';
        }
      });
    }
  }
};
