import {
  JupyterFrontEnd,
  JupyterFrontEndPlugin
} from '@jupyterlab/application';
import { NotebookPanel } from '@jupyterlab/notebook';
import { ISettingRegistry } from '@jupyterlab/settingregistry';
import { ITranslator, nullTranslator } from '@jupyterlab/translation';
import { DisposableDelegate, IDisposable } from '@lumino/disposable';

import { ILLMOps } from '../tokens';
import { follow } from './setting';

export const badges: JupyterFrontEndPlugin<void> = {
  id: 'llmops-jupyter:badges',
  description: 'Shows at each prompt cell which version it ran as.',
  autoStart: true,
  requires: [ILLMOps],
  optional: [ITranslator, ISettingRegistry],
  activate: (
    app: JupyterFrontEnd,
    { watched }: ILLMOps,
    translator: ITranslator | null,
    settings: ISettingRegistry | null
  ): void => {
    const trans = (translator ?? nullTranslator).load('llmops_jupyter');
    const open = new Map<NotebookPanel, IDisposable | null>();
    let on = false;

    const begin = async (panel: NotebookPanel) => {
      const { NotebookBadges } = await import('../badges/notebook');
      if (!on || panel.isDisposed || open.get(panel) !== null) {
        return; // It was closed or turned off meanwhile, or has them.
      }
      open.set(
        panel,
        new NotebookBadges(panel, watched, trans, (client, badge) => {
          void import('../badges/changes').then(({ showChanges }) =>
            showChanges(client, badge, trans)
          );
        })
      );
    };

    follow(settings, 'badges', value => {
      on = value;
      for (const [panel, shown] of open) {
        if (on) {
          void begin(panel);
        } else {
          shown?.dispose();
          open.set(panel, null);
        }
      }
    });

    app.docRegistry.addWidgetExtension('Notebook', {
      createNew: (panel: NotebookPanel): IDisposable => {
        open.set(panel, null);
        if (on) {
          void begin(panel);
        }
        return new DisposableDelegate(() => {
          open.get(panel)?.dispose();
          open.delete(panel);
        });
      }
    });
  }
};
