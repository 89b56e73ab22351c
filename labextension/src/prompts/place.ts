import { IPrompt, IPromptVersion } from '../api';
import { own } from '../shared/own';

/** What of the prompts is shown: all, one with a version, or what changed between two. */
export interface IPromptPlace {
  /** '' for the list. */
  name: string;
  /** A version's number or an alias; '' for the newest. */
  selector: string;
  /** The two versions that are compared, if they were chosen. */
  pair: [number, number] | null;
}

/** The place that `name`, `name@3`, `name@production` or `name@2..3` means. */
export function placeOf(item: string): IPromptPlace {
  const at = item.indexOf('@');
  const name = at === -1 ? item : item.slice(0, at);
  const selector = at === -1 ? '' : item.slice(at + 1);
  const pair = /^(\d+)\.\.(\d+)$/.exec(selector);
  return pair
    ? { name, selector: pair[2], pair: [Number(pair[1]), Number(pair[2])] }
    : { name, selector, pair: null };
}

/** The version that a place means; undefined where the prompt has none such. */
export function versionAt(
  prompt: IPrompt,
  selector: string
): IPromptVersion | undefined {
  if (selector === '') {
    return prompt.versions[0];
  }
  const number = /^\d+$/.test(selector)
    ? Number(selector)
    : own(prompt.aliases, selector);
  return prompt.versions.find(v => v.version === number);
}

/** The two versions to compare where none were chosen: the one before and this; null where there is only one. */
export function neighbours(
  prompt: IPrompt,
  version: number
): [number, number] | null {
  const at = prompt.versions.findIndex(v => v.version === version);
  const older = prompt.versions[at + 1];
  const newer = prompt.versions[at - 1];
  if (older) {
    return [older.version, version];
  }
  return newer ? [version, newer.version] : null;
}
