import { ServerConnection } from '@jupyterlab/services';

import { Client } from '../api';
import { Watched } from '../watched';

const workspace = (id: string) => ({
  ...{ id, name: id, path: id, size: 1, changed_at: '' }
});

async function watching(preferred: string): Promise<Watched> {
  const watched = new Watched({} as ServerConnection.ISettings);
  watched.prefer(preferred);
  watched.look();
  await watched.refresh();
  return watched;
}

beforeEach(() => {
  jest
    .spyOn(Client, 'workspaces')
    .mockResolvedValue([workspace('w1'), workspace('w2')]);
  jest
    .spyOn(Client.prototype, 'versions')
    .mockResolvedValue({ body: null, etag: '' });
});

test('of several workspaces that is shown which was shown before the page was loaded again', async () => {
  const watched = await watching('w2');
  expect(watched.client?.workspace).toBe('w2');
  watched.dispose();
});

test('one that is gone is not waited for', async () => {
  const watched = await watching('gone');
  expect(watched.client?.workspace).toBe('w1');
  watched.prefer('w2');
  expect(watched.client?.workspace).toBe('w2');
  await watched.refresh();
  watched.dispose();
});
