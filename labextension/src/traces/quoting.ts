/** Values as the text of a cell: as words of a magic line, and as Python. */

/** How `llmops_jupyter.commands.parsing.split_line` cuts a line into words. */
const WORD = /"((?:[^"\\]|\\.)*)"(?=\s|$)|'([^']*)'(?=\s|$)|(\S+)/g;

/** Words that need no quotes: nothing in them means anything to the parser, to IPython or to Python's tokenizer. */
const BARE = /^[A-Za-z0-9][A-Za-z0-9_.@:/+-]*$/;

/** What may not stand in a line of a cell as it is: it ends lines, is not seen, or turns the order of letters. */
const UNSEEN =
  /[\p{Cc}\p{Cf}\p{Cs}\p{Cn}\p{Zl}\p{Zp}\u115f\u1160\u3164\uffa0]/u;
const ALL_UNSEEN = new RegExp(UNSEEN.source, 'gu');

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

/** A text as a Python string on one line. */
export function pythonText(text: string): string {
  return JSON.stringify(text).replace(ALL_UNSEEN, found => {
    const code = (found.codePointAt(0) ?? 0).toString(16);
    return code.length > 4
      ? `\\U${code.padStart(8, '0')}`
      : `\\u${code.padStart(4, '0')}`;
  });
}

/** Lines longer than this are broken, where the text has lines. */
const WIDTH = 88;

/** A JSON value as Python; texts of several lines as such. `indent` is that of the line it stands on. */
export function python(value: unknown, indent = ''): string {
  if (value === null || value === undefined) {
    return 'None';
  }
  if (typeof value === 'boolean') {
    return value ? 'True' : 'False';
  }
  if (typeof value === 'number') {
    return String(value);
  }
  if (typeof value === 'string') {
    return text(value, indent);
  }
  if (Array.isArray(value)) {
    return list(
      '[',
      value.map(item => python(item, `${indent}    `)),
      ']',
      indent
    );
  }
  return list(
    '{',
    Object.entries(value).map(
      ([key, item]) => `${pythonText(key)}: ${python(item, `${indent}    `)}`
    ),
    '}',
    indent
  );
}

function text(value: string, indent: string): string {
  const whole = pythonText(value);
  if (whole.length <= WIDTH || !value.trimEnd().includes('\n')) {
    return whole;
  }
  const lines = value.match(/[^\n]*\n|[^\n]+$/g) ?? [];
  const more = lines.map(line => `${indent}    ${pythonText(line)}\n`);
  return `(\n${more.join('')}${indent})`;
}

function list(
  open: string,
  items: string[],
  close: string,
  indent: string
): string {
  const line = `${open}${items.join(', ')}${close}`;
  if (line.length <= WIDTH && !line.includes('\n')) {
    return line;
  }
  const more = items.map(item => `${indent}    ${item},\n`);
  return `${open}\n${more.join('')}${indent}${close}`;
}

const KEYWORDS = new Set(
  (
    'False None True and as assert async await break class continue def del elif else except finally for from ' +
    'global if import in is lambda nonlocal not or pass raise return try while with yield'
  ).split(' ')
);

/** Names that mean something in a notebook and are better not set. */
const TAKEN = new Set(['In', 'Out', 'exit', 'quit', 'get_ipython', 'print']);

/** Whether a line `NAME = …` sets a variable of that name and does no harm. */
export function isAssignable(name: string): boolean {
  return (
    /^[A-Za-z][A-Za-z0-9_]*$/.test(name) &&
    !KEYWORDS.has(name) &&
    !TAKEN.has(name)
  );
}
