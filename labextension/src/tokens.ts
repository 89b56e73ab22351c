import { Token } from '@lumino/coreutils';

import { Watched } from './watched';

/** What our plugins share: the watched workspace. */
export const ILLMOps = new Token<ILLMOps>(
  'llmops-jupyter:ILLMOps',
  'The workspace of llmops-jupyter that is shown, and what changes in it.'
);

export interface ILLMOps {
  readonly watched: Watched;
}

/** Ids of commands, also for others. Arguments stand in `plugins/commands.ts`. */
export const CommandIDs = {
  openPanel: 'llmops:open-panel',
  openTrace: 'llmops:open-trace',
  showSection: 'llmops:show-section',
  openCell: 'llmops:open-cell',
  insertCell: 'llmops:insert-cell',
  refresh: 'llmops:refresh',
  newNotebook: 'llmops:new-notebook'
} as const;
