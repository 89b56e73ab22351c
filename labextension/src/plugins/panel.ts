import {
  ILabShell,
  ILayoutRestorer,
  JupyterFrontEnd,
  JupyterFrontEndPlugin
} from '@jupyterlab/application';
import { ITranslator, nullTranslator } from '@jupyterlab/translation';
import { Widget, PanelLayout } from '@lumino/widgets';

import { Topic } from '../api';
import { CommandIDs, ILLMOps } from '../tokens';
import { icon } from '../shared/icon';

/** A light widget in the side area; what it shows is fetched when it is first seen. */
class Shell extends Widget {
  constructor(readonly open: (shell: Shell) => Promise<Widget>) {
    super();
    this.layout = new PanelLayout();
    this.addClass('jp-LLMOps-shell');
  }

  content(): Promise<Widget> {
    this._content ??= this.open(this).then(widget => {
      (this.layout as PanelLayout).addWidget(widget);
      return widget;
    });
    return this._content;
  }

  protected onBeforeShow(): void {
    void this.content();
  }

  private _content: Promise<Widget> | null = null;
}

export const panel: JupyterFrontEndPlugin<void> = {
  id: 'llmops-jupyter:panel',
  description: 'The side panel: what the notebooks did, read from the store.',
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
    let place: { section: Topic; item: string } = {
      section: 'traces',
      item: ''
    };
    const shell = new Shell(async () => {
      const { PanelWidget } = await import('../panel/widget');
      const { host } = await import('./host');
      const widget = new PanelWidget(watched, host(app, trans), trans, place);
      widget.moved.connect((_, now) => {
        place = now;
      });
      return widget;
    });
    shell.id = 'llmops-jupyter-panel';
    shell.title.icon = icon;
    shell.title.caption = trans.__('LLM operations');
    app.shell.add(shell, 'right', { rank: 700 });
    restorer?.add(shell, shell.id);

    app.commands.addCommand(CommandIDs.openPanel, {
      label: trans.__('Show the LLM Operations Panel'),
      icon,
      describedBy: { args: { type: 'object', properties: {} } },
      execute: () => app.shell.activateById(shell.id)
    });
    app.commands.addCommand(CommandIDs.showSection, {
      label: args => trans.__('LLM Operations: %1', String(args.section ?? '')),
      isVisible: () => false,
      describedBy: {
        args: {
          type: 'object',
          properties: {
            section: {
              type: 'string',
              enum: [
                'traces',
                'prompts',
                'evaluations',
                'models',
                'indexes',
                'monitor'
              ]
            },
            item: {
              type: 'string',
              description: 'What to show there: the id of a trace, a name.'
            }
          },
          required: ['section']
        }
      },
      execute: async args => {
        place = {
          section: String(args.section) as Topic,
          item: String(args.item ?? '')
        };
        const { PanelWidget } = await import('../panel/widget');
        const content = await shell.content();
        if (content instanceof PanelWidget) {
          content.place = place;
        }
        labShell?.expandRight();
        app.shell.activateById(shell.id);
      }
    });
  }
};
