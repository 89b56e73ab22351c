import {
  JupyterFrontEnd,
  JupyterFrontEndPlugin
} from '@jupyterlab/application';
import { IRenderMimeRegistry } from '@jupyterlab/rendermime';
import { IRenderMime } from '@jupyterlab/rendermime-interfaces';
import {
  ITranslator,
  nullTranslator,
  TranslationBundle
} from '@jupyterlab/translation';
import { Panel } from '@lumino/widgets';

import type { TraceOutput } from '../renderer/output';

export const TRACE_MIME = 'application/vnd.llmops.trace.v1+json';

/** Before `text/html` (50), which the same output has for those who do not know us. */
const RANK = 40;

/** The place of a trace in an output. The code that draws it is fetched when the first one is shown. */
export class TraceRenderer extends Panel implements IRenderMime.IRenderer {
  constructor(
    readonly app: JupyterFrontEnd,
    readonly trans: TranslationBundle
  ) {
    super();
    this.addClass('jp-LLMOps-renderer');
  }

  async renderModel(model: IRenderMime.IMimeModel): Promise<void> {
    const data = model.data[TRACE_MIME];
    const [{ TraceOutput }, { openCell }] = await Promise.all([
      import('../renderer/output'),
      import('./cell')
    ]);
    if (this.isDisposed) {
      return;
    }
    if (!this._shown) {
      this._shown = new TraceOutput(this.trans, openCell(this.app, this.trans));
      this.addWidget(this._shown);
    }
    this._shown.display(data);
  }

  private _shown: TraceOutput | null = null;
}

export const renderer: JupyterFrontEndPlugin<void> = {
  id: 'llmops-jupyter:renderer',
  description: 'Shows traces in the outputs of notebooks.',
  autoStart: true,
  requires: [IRenderMimeRegistry],
  optional: [ITranslator],
  activate: (
    app: JupyterFrontEnd,
    rendermime: IRenderMimeRegistry,
    translator: ITranslator | null
  ): void => {
    const trans = (translator ?? nullTranslator).load('llmops_jupyter');
    rendermime.addFactory(
      {
        safe: true, // all of it is shown as text
        mimeTypes: [TRACE_MIME],
        createRenderer: () => new TraceRenderer(app, trans)
      },
      RANK
    );
  }
};
