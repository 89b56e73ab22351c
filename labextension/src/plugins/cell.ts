import { JupyterFrontEnd } from '@jupyterlab/application';
import { TranslationBundle } from '@jupyterlab/translation';

import { notShown } from '../shared/errands';
import { CommandIDs } from '../tokens';

/** Goes to the cell that made something; answers a sentence where that cannot be done, else ''. */
export function openCell(
  app: JupyterFrontEnd,
  trans: TranslationBundle
): (notebook: string, cellId: string) => Promise<string> {
  return async (notebook, cellId) => {
    const sentence = notShown(trans, notebook);
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
