/** A message of a template; `role` is '' where the text has no role markers. */
export interface ITemplateMessage {
  role: string;
  text: string;
}

/** A stretch of a template: text, a variable such as {{ name }}, or a statement such as {% if … %}. */
export interface IStretch {
  kind: 'text' | 'variable' | 'statement';
  text: string;
}

const MARKER = /^(system|user|assistant):[ \t]?/;

/** The messages of a template, by the rule of the magics: markers count only if the first line that is not blank is one. */
export function messagesOf(template: string): ITemplateMessage[] {
  const lines = template.split('\n');
  const first = lines.find(line => line.trim() !== '') ?? '';
  if (!MARKER.test(first)) {
    return [{ role: '', text: template.trimEnd() }];
  }
  const found: { role: string; lines: string[] }[] = [];
  for (const line of lines) {
    const marker = MARKER.exec(line);
    if (marker) {
      found.push({ role: marker[1], lines: [line.slice(marker[0].length)] });
    } else {
      found[found.length - 1]?.lines.push(line);
    }
  }
  return found.map(({ role, lines: own }) => ({
    role,
    text: own.join('\n').trimEnd()
  }));
}

const RAW = /^\{%-?\s*raw\s*-?%\}$/;
const ENDRAW = /\{%-?\s*endraw\s*-?%\}/g;

/** Variables and statements in a text; what stands between raw and endraw is text. Time grows with the length only. */
export function stretchesOf(text: string): IStretch[] {
  const found: IStretch[] = [];
  const add = (kind: IStretch['kind'], from: number, to: number) => {
    if (to > from) {
      found.push({ kind, text: text.slice(from, to) });
    }
  };
  const next = (mark: string, from: number) => {
    const at = text.indexOf(mark, from);
    return at === -1 ? Infinity : at;
  };
  let done = 0;
  let variable = next('{{', 0);
  let statement = next('{%', 0);
  while (variable !== Infinity || statement !== Infinity) {
    const isVariable = variable < statement;
    const begin = isVariable ? variable : statement;
    const end = next(isVariable ? '}}' : '%}', begin + 2) + 2;
    if (end === Infinity) {
      // Nothing closes it, so nothing closes what opens later either.
      variable = isVariable ? Infinity : variable;
      statement = isVariable ? statement : Infinity;
      continue;
    }
    add('text', done, begin);
    add(isVariable ? 'variable' : 'statement', begin, end);
    done = end;
    if (!isVariable && RAW.test(text.slice(begin, end))) {
      ENDRAW.lastIndex = end;
      const close = ENDRAW.exec(text);
      const stop = close ? close.index : text.length;
      add('text', end, stop);
      done = stop;
    }
    variable = variable < done ? next('{{', done) : variable;
    statement = statement < done ? next('{%', done) : statement;
  }
  add('text', done, text.length);
  return found;
}
