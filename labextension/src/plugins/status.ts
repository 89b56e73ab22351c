import {
  JupyterFrontEnd,
  JupyterFrontEndPlugin
} from '@jupyterlab/application';
import { INotebookTracker } from '@jupyterlab/notebook';
import { ISettingRegistry } from '@jupyterlab/settingregistry';
import { IStatusBar } from '@jupyterlab/statusbar';
import { ITranslator, nullTranslator } from '@jupyterlab/translation';

// eslint-disable-next-line jupyter/prefer-lazy-imports -- the item that the status bar takes; it is small
import { StatusItem } from '../status/item';
import { CommandIDs, ILLMOps } from '../tokens';
import { follow } from './setting';

export const status: JupyterFrontEndPlugin<void> = {
  id: 'llmops-jupyter:status',
  description: 'The loaded model, its speed, and alarms in the status bar.',
  autoStart: true,
  requires: [ILLMOps],
  optional: [IStatusBar, ITranslator, ISettingRegistry, INotebookTracker],
  activate: (
    app: JupyterFrontEnd,
    { watched }: ILLMOps,
    bar: IStatusBar | null,
    translator: ITranslator | null,
    settings: ISettingRegistry | null,
    tracker: INotebookTracker | null
  ): void => {
    if (!bar) {
      return;
    }
    const trans = (translator ?? nullTranslator).load('llmops_jupyter');
    const item = new StatusItem(watched, trans, () => {
      void app.commands.execute(CommandIDs.showSection, { section: 'monitor' });
    });
    bar.registerStatusItem('llmops-jupyter:status', {
      item,
      align: 'right',
      rank: 40,
      isActive: () => item.shows,
      activeStateChanged: item.shownChanged
    });
    let on = false;
    // Who has no notebook open runs no prompts here: then nothing is asked.
    const look = () => {
      item.looking = on && (tracker === null || tracker.size > 0);
    };
    follow(settings, 'statusBar', value => {
      on = value;
      look();
    });
    tracker?.widgetAdded.connect((_, panel) => {
      look();
      panel.disposed.connect(() => look());
    });
  }
};
