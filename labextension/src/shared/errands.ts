import { TranslationBundle } from '@jupyterlab/translation';

import { IHost } from '../host';
import { fileName } from '../notebooks/place';
import { words } from './states';
import { visible } from './visible';

/** Do something, and say so where it fails. */
export async function tried<T>(
  host: IHost,
  trans: TranslationBundle,
  action: () => Promise<T>
): Promise<T | null> {
  try {
    return await action();
  } catch (fault) {
    host.notify(words(trans, fault), 'error');
    return null;
  }
}

/** Copy a text, and say so. */
export async function copy(
  host: IHost,
  trans: TranslationBundle,
  text: string
): Promise<void> {
  const done = await tried(host, trans, async () => {
    await host.copy(text);
    return true;
  });
  if (done) {
    host.notify(trans.__('Copied.'), 'success');
  }
}

/** Put a cell into the notebook; whether it is there. Says so where that cannot be done, as with null for a cell. */
export async function insert(
  host: IHost,
  trans: TranslationBundle,
  source: string | null
): Promise<boolean> {
  if (source === null) {
    host.notify(
      trans.__('This name cannot be written in a magic line.'),
      'error'
    );
    return false;
  }
  const put = await tried(host, trans, () => host.insertCell(source));
  if (put === false) {
    host.notify(
      trans.__(
        'Open a notebook first, one that can be changed: the cell goes below its active one.'
      ),
      'error'
    );
  }
  return put === true;
}

/** Go to the cell that made something, and say so where that cannot be done. */
export async function openCell(
  host: IHost,
  trans: TranslationBundle,
  notebook: string,
  cell: string
): Promise<void> {
  const found = await tried(host, trans, () => host.openCell(notebook, cell));
  if (found === false) {
    host.notify(notShown(trans, notebook), 'info');
  }
}

/** Why the cell of a notebook is not shown. */
export function notShown(trans: TranslationBundle, notebook: string): string {
  return trans.__(
    'The cell cannot be shown: it was deleted, or the notebook %1 has moved or lies outside the folder of this server.',
    visible(fileName(notebook))
  );
}
