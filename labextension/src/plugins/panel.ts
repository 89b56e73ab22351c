import {
  ILabShell,
  ILayoutRestorer,
  JupyterFrontEnd,
  JupyterFrontEndPlugin
} from '@jupyterlab/application';
import { ICommandPalette, WidgetTracker } from '@jupyterlab/apputils';
import {
  ITranslator,
  nullTranslator,
  TranslationBundle
} from '@jupyterlab/translation';
import { Widget, PanelLayout } from '@lumino/widgets';

import { Topic } from '../api';
import { CommandIDs, ILLMOps } from '../tokens';
import { icon } from '../shared/icon';

const TOPICS: readonly Topic[] = [
  ...(['traces', 'prompts', 'evaluations'] as const),
  ...(['models', 'indexes', 'monitor'] as const)
];

/** A light widget in the side area; what it shows is fetched when it is first seen. */
class Shell extends Widget {
  constructor(
    readonly open: (shell: Shell) => Promise<Widget>,
    readonly sentence: string
  ) {
    super();
    this.layout = new PanelLayout();
    this.addClass('jp-LLMOps-shell');
  }

  /** What it shows. Where that cannot be fetched it says so, and tries again when it is shown again. */
  content(): Promise<Widget> {
    this._content ??= this.open(this).then(
      widget => {
        this.node.textContent = '';
        (this.layout as PanelLayout).addWidget(widget);
        return widget;
      },
      fault => {
        this._content = null;
        this.node.textContent = this.sentence;
        throw fault;
      }
    );
    return this._content;
  }

  protected onBeforeShow(): void {
    this.content().catch(fault => console.warn('llmops-jupyter:', fault));
  }

  private _content: Promise<Widget> | null = null;
}

export const panel: JupyterFrontEndPlugin<void> = {
  id: 'llmops-jupyter:panel',
  description: 'The side panel: what the notebooks did, read from the store.',
  autoStart: true,
  requires: [ILLMOps],
  optional: [ITranslator, ILayoutRestorer, ILabShell, ICommandPalette],
  activate: (
    app: JupyterFrontEnd,
    { watched }: ILLMOps,
    translator: ITranslator | null,
    restorer: ILayoutRestorer | null,
    labShell: ILabShell | null,
    palette: ICommandPalette | null
  ): void => {
    const trans = (translator ?? nullTranslator).load('llmops_jupyter');
    const tracker = new WidgetTracker<Shell>({
      namespace: 'llmops-jupyter-panel'
    });
    let place: { section: Topic; item: string } = {
      section: 'traces',
      item: ''
    };
    let workspace = '';
    const shell = new Shell(async () => {
      const { PanelWidget } = await import('../panel/widget');
      const { host } = await import('./host');
      const widget = new PanelWidget(watched, host(app, trans), trans, place);
      widget.moved.connect((_, now) => {
        place = now;
        void tracker.save(shell);
      });
      return widget;
    }, trans.__('The panel could not be fetched from the server. Reload the page.'));
    shell.id = 'llmops-jupyter-panel';
    shell.title.icon = icon;
    shell.title.caption = trans.__('LLM operations');
    app.shell.add(shell, 'right', { rank: 700 });

    app.commands.addCommand(CommandIDs.openPanel, {
      label: trans.__('Show the LLM Operations Panel'),
      icon,
      describedBy: { args: { type: 'object', properties: {} } },
      execute: () => {
        labShell?.expandRight();
        app.shell.activateById(shell.id);
      }
    });
    app.commands.addCommand(CommandIDs.showSection, {
      label: args => label(args.section, trans),
      icon,
      describedBy: {
        args: {
          type: 'object',
          properties: {
            section: { type: 'string', enum: [...TOPICS] },
            item: {
              type: 'string',
              description: 'What to show there: the id of a trace, a name.'
            },
            workspace: {
              type: 'string',
              description:
                'The id of the workspace that has it, if it is known.'
            },
            restoring: {
              type: 'boolean',
              description: 'Whether only to remember it, and not to show it.'
            }
          },
          required: ['section']
        }
      },
      execute: async args => {
        const section = TOPICS.find(topic => topic === args.section);
        if (!section) {
          return;
        }
        const item = typeof args.item === 'string' ? args.item : '';
        place = { section, item };
        if (typeof args.workspace === 'string' && args.workspace) {
          workspace = args.workspace;
          watched.prefer(workspace);
        }
        if (args.restoring === true) {
          // Else the next page would begin with what was kept when this one had not been told yet.
          return tracker.save(shell);
        }
        const { PanelWidget } = await import('../panel/widget');
        const content = await shell.content();
        if (content instanceof PanelWidget) {
          content.place = place;
        }
        labShell?.expandRight();
        app.shell.activateById(shell.id);
      }
    });
    if (restorer) {
      void restorer.restore(tracker, {
        command: CommandIDs.showSection,
        args: () => ({
          ...{ ...place, restoring: true },
          workspace: watched.client?.workspace ?? workspace
        }),
        name: () => 'panel'
      });
    }
    void tracker.add(shell);
    watched.changed.connect(() => {
      void tracker.save(shell); // It may be another workspace.
    });

    const category = trans.__('LLM Operations');
    palette?.addItem({ command: CommandIDs.openPanel, category });
    for (const section of TOPICS) {
      palette?.addItem({
        ...{ command: CommandIDs.showSection, category },
        args: { section }
      });
    }
  }
};

function label(section: unknown, trans: TranslationBundle): string {
  switch (section) {
    case 'prompts':
      return trans.__('Show Prompts and Their Versions');
    case 'evaluations':
      return trans.__('Show Evaluations');
    case 'models':
      return trans.__('Show Models and Adapters');
    case 'indexes':
      return trans.__('Show RAG Indexes');
    case 'monitor':
      return trans.__('Show the Monitor');
    default:
      return trans.__('Show Traces');
  }
}
