import { JupyterFrontEndPlugin } from '@jupyterlab/application';

import { badges } from './plugins/badges';
import { commands } from './plugins/commands';
import { panel } from './plugins/panel';
import { renderer } from './plugins/renderer';
import { status } from './plugins/status';
import { trace } from './plugins/trace';
import { workspace } from './plugins/workspace';

const plugins: JupyterFrontEndPlugin<unknown>[] = [
  workspace,
  panel,
  commands,
  trace,
  renderer,
  status,
  badges
];

export default plugins;
