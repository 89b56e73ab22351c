import { JupyterFrontEndPlugin } from '@jupyterlab/application';

import { panel } from './plugins/panel';
import { workspace } from './plugins/workspace';

const plugins: JupyterFrontEndPlugin<unknown>[] = [workspace, panel];

export default plugins;
