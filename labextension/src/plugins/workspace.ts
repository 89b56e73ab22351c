import {
  JupyterFrontEnd,
  JupyterFrontEndPlugin
} from '@jupyterlab/application';

import { ILLMOps } from '../tokens';
// eslint-disable-next-line jupyter/prefer-lazy-imports -- the service that is provided; it is small
import { Watched } from '../watched';

/** The workspace that all our plugins show. */
export const workspace: JupyterFrontEndPlugin<ILLMOps> = {
  id: 'llmops-jupyter:workspace',
  description: 'Knows the stores below the server, and tells when one changes.',
  autoStart: true,
  provides: ILLMOps,
  activate: (app: JupyterFrontEnd): ILLMOps => ({
    watched: new Watched(app.serviceManager.serverSettings)
  })
};
