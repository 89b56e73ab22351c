import { JupyterFrontEnd } from '@jupyterlab/application';
import { TranslationBundle } from '@jupyterlab/translation';

import { CommandIDs } from '../tokens';

/** Goes to the cell that made something; answers a sentence where that cannot be done, else ''. */
export function openCell(
  app: JupyterFrontEnd,
  trans: TranslationBundle
): (notebook: string, cellId: string) => Promise<string> {
  return async (notebook, cellId) => {
    const name = notebook.split(/[/\\]/).pop() ?? notebook;
    const sentence = trans.__(
      'The cell cannot be shown: it was deleted, or the notebook %1 has moved or lies outside the folder of this server.',
      name
    );
    if (!app.commands.hasCommand(CommandIDs.openCell)) {
      return sentence;
    }
    try {
      const done = await app.commands.execute(CommandIDs.openCell, {
        ...{ notebook, cellId }
      });
      return done ? '' : sentence;
    } catch (error) {
      return String((error as Error).message ?? error);
    }
  };
}
