import { JupyterFrontEnd } from '@jupyterlab/application';
import { CommandRegistry } from '@lumino/commands';
import { Signal } from '@lumino/signaling';

import { CommandIDs } from '../../tokens';
import { panel } from '../panel';

function started() {
  const watched = {
    prefer: jest.fn(),
    client: null as { workspace: string } | null,
    changed: new Signal<object, void>({})
  };
  const restorer = { restore: jest.fn() };
  const app = {
    commands: new CommandRegistry(),
    shell: { add: jest.fn(), activateById: jest.fn() }
  } as unknown as JupyterFrontEnd;
  void panel.activate(app, { watched }, null, restorer, null, null);
  const [, kept] = restorer.restore.mock.calls[0];
  return { app, watched, kept };
}

test('a reloaded page shows the workspace and the place that were shown before', async () => {
  const { app, watched, kept } = started();
  expect(kept.args()).toEqual({
    ...{ section: 'traces', item: '', workspace: '', restoring: true }
  });
  const before = { section: 'prompts', item: 'capital', workspace: 'w2' };
  await app.commands.execute(kept.command, { ...before, restoring: true });
  expect(kept.command).toBe(CommandIDs.showSection);
  expect(watched.prefer).toHaveBeenCalledWith('w2');
  expect(kept.args()).toEqual({ ...before, restoring: true });
  watched.client = { workspace: 'w3' };
  expect(kept.args().workspace).toBe('w3');
});
