/** Values as Python, for the text of a cell. */

import { UNSEEN } from '../shared/magicline';

const ALL_UNSEEN = new RegExp(UNSEEN.source, 'gu');

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
