/** How `llmops_jupyter.commands.parsing.split_line` cuts a line into words. */
const WORD = /"((?:[^"\\]|\\.)*)"(?=\s|$)|'([^']*)'(?=\s|$)|(\S+)/g;

/** Words that need no quotes: nothing in them means anything to the parser, to IPython or to Python's tokenizer. */
const BARE = /^[A-Za-z0-9][A-Za-z0-9_.@:/+-]*$/;

/** What may not stand in a line of a cell as it is: it ends lines, is not seen, or turns the order of letters. */
export const UNSEEN =
  /[\p{Cc}\p{Cf}\p{Cs}\p{Cn}\p{Zl}\p{Zp}\u115f\u1160\u3164\uffa0]/u;

/** The words of a line, as the parser reads them. */
export function wordsOf(line: string): string[] {
  return [...line.matchAll(WORD)].map(([, double, single, bare]) =>
    bare !== undefined
      ? bare
      : double !== undefined && double !== ''
        ? double.replace(/\\"/g, '"')
        : (single ?? '')
  );
}

/** A text as one word of a magic line; null if no quotes can hold it. */
export function word(text: string): string | null {
  if (BARE.test(text)) {
    return text;
  }
  if (UNSEEN.test(text) || text.startsWith(' -')) {
    return null; // The parser takes the space before a minus away.
  }
  const tried = [`"${text.replace(/"/g, '\\"')}"`, `'${text}'`];
  return (
    tried.find(quoted => {
      const read = wordsOf(quoted);
      return read.length === 1 && read[0] === text;
    }) ?? null
  );
}

/** A magic line with words from the store after its first ones; null if one of them cannot stand in a line. */
export function magicLine(
  command: string,
  ...words: readonly string[]
): string | null {
  const found = words.map(word);
  return found.includes(null) ? null : [command, ...found].join(' ');
}
