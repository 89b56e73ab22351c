import { TranslationBundle } from '@jupyterlab/translation';

import { IHost } from '../host';

/** A word that needs no quotes in a magic line. */
const BARE = /^[\p{L}\p{N}_./@:+~][\p{L}\p{N}_./@:+~-]*$/u;

/**
 * A word of a magic line, in quotes where it needs them; null for what a line cannot hold.
 *
 * Names come from the store: one with a new line in it would be further lines of the cell.
 */
export function word(text: string): string | null {
  if (BARE.test(text)) {
    return text;
  }
  if (text === '' || /[\p{Cc}\u2028\u2029]/u.test(text)) {
    return null;
  }
  if (!text.includes("'")) {
    return `'${text}'`;
  }
  return /["\\]/.test(text) ? null : `"${text}"`;
}

/** A magic line with words from the store after its first ones; null if one of them cannot stand in a line. */
export function magicLine(
  command: string,
  ...words: readonly string[]
): string | null {
  const found = words.map(word);
  return found.includes(null) ? null : [command, ...found].join(' ');
}

/** Put a line, or what follows it in its cell, into the notebook; say so where that cannot be done. */
export async function insert(
  host: IHost,
  trans: TranslationBundle,
  source: string | null
): Promise<void> {
  if (source === null) {
    host.notify(
      trans.__('This name cannot be written in a magic line.'),
      'error'
    );
  } else if (!(await host.insertCell(source))) {
    host.notify(
      trans.__('Open a notebook first; the cell is put below its active one.')
    );
  }
}
