import { TranslationBundle } from '@jupyterlab/translation';

import { ISpan, ITrace } from '../api';
import { word } from '../shared/magicline';
import { isAssignable, python, pythonText } from './python';
import { ISetting, settingsOf } from './settings';
import { templateOf } from './template';

/** A cell that makes the same call again, null if there is none, and what is not the same about it. */
export interface IReplay {
  cell: string | null;
  missing: string[];
}

/** A call as it is put into a cell. Without a `ref` its template is written out. */
interface ICall {
  ref: string;
  template: string;
  variables: [string, unknown][];
  settings: ISetting[];
  comments: string[];
}

/** Lines longer than this are broken. */
const WIDTH = 88;
/** How the store marks a value that it cut. */
const CUT = /… \((?:cut, )?\d+ characters\)$|^… \(\d+ more\)$/;

/**
 * A cell that runs the prompt of a trace again: the same version, model, settings and variables.
 *
 * A call without a version is written out from the messages that were sent. Where a magic line cannot say it all,
 * such as a stop text with a line break, the cell is Python.
 */
export function replayOf(trace: ITrace, trans: TranslationBundle): IReplay {
  const root = callOf(trace);
  if (!root) {
    return {
      cell: null,
      missing: [trans.__('This trace holds no call of a prompt or a model.')]
    };
  }
  const chat = chatOf(trace, root);
  const { settings, missing } = settingsOf(root, chat, trans);
  const index = indexOf(trace, root);
  if (index && root.prompt) {
    settings.push({ flag: '--rag', name: 'rag', value: index });
    missing.push(
      trans.__('Passages are looked up anew; they may be others now.')
    );
  }
  const call: ICall = {
    ref: root.prompt,
    template: '',
    variables: [],
    settings,
    comments: [
      trans.__('Trace %1 again', trace.trace_id.replace(/\W/g, '').slice(0, 8))
    ]
  };
  if (root.prompt) {
    missing.push(...fillIn(call, root, trans));
  } else {
    const sent = index && chat ? chat.input : root.input;
    const template = templateOf(sent.length ? sent : (chat?.input ?? []));
    if (template === null) {
      return {
        cell: null,
        missing: [
          trans.__(
            'Its messages cannot be written as a prompt: they are not all in the trace, or hold calls of tools.'
          )
        ]
      };
    }
    call.template = template;
  }
  return { cell: magic(call) ?? script(call), missing };
}

/** The span whose call is made again: the outermost one that is a prompt's, else one with messages. */
function callOf(trace: ITrace): ISpan | undefined {
  const spans = [...trace.spans].sort(
    (a, b) => Number(a.parent_id !== null) - Number(b.parent_id !== null)
  );
  return (
    spans.find(span => span.prompt !== '' && span.op !== 'chat') ??
    spans.find(span => span.prompt !== '') ??
    spans.find(span => span.input.length > 0)
  );
}

function isBelow(trace: ITrace, span: ISpan, above: ISpan): boolean {
  const parents = new Map(trace.spans.map(one => [one.span_id, one.parent_id]));
  const seen = new Set<string>();
  let at: string | null | undefined = span.span_id;
  while (at && !seen.has(at)) {
    if (at === above.span_id) {
      return true;
    }
    seen.add(at);
    at = parents.get(at);
  }
  return false;
}

function chatOf(trace: ITrace, root: ISpan): ISpan | undefined {
  return trace.spans.find(
    span => span.op === 'chat' && isBelow(trace, span, root)
  );
}

/** The index of which passages were given. */
function indexOf(trace: ITrace, root: ISpan): string {
  const found = trace.spans.find(
    span => span.op === 'retrieval' && isBelow(trace, span, root)
  );
  const name = found?.attributes['gen_ai.data_source.id'];
  return typeof name === 'string' ? name : '';
}

/** Give the call the variables that the trace has; the answer tells of those it does not have whole. */
function fillIn(call: ICall, root: ISpan, trans: TranslationBundle): string[] {
  const given = root.attributes['llmops.prompt.variables'];
  if (typeof given !== 'object' || given === null || Array.isArray(given)) {
    return [
      trans.__('Its variables are not in the trace: the notebook’s hold.')
    ];
  }
  const missing: string[] = [];
  for (const [name, value] of Object.entries(given)) {
    if (isWhole(value)) {
      call.variables.push([name, value]);
    } else {
      const text = trans.__(
        'Only a part of the variable %1 is in the trace: give it its value first.',
        pythonText(name)
      );
      missing.push(text);
      call.comments.push(text);
    }
  }
  return missing;
}

function isWhole(value: unknown): boolean {
  if (typeof value === 'string') {
    return !CUT.test(value);
  }
  if (typeof value === 'number') {
    return !Number.isInteger(value) || Number.isSafeInteger(value);
  }
  if (typeof value !== 'object' || value === null) {
    return true;
  }
  return Array.isArray(value)
    ? value.every(isWhole)
    : Object.entries(value).every(
        ([key, item]) => key !== '…' && key !== 'llmops.cut' && isWhole(item)
      );
}

function commented(call: ICall): string[] {
  return call.comments.map(line => `# ${line}`);
}

/** The call as a magic; null if a magic line cannot say it. */
function magic(call: ICall): string | null {
  const words = call.ref ? ['%prompt run', word(call.ref)] : ['%%prompt'];
  for (const { flag, value } of call.settings) {
    for (const one of Array.isArray(value) ? value : [value]) {
      words.push(option(flag, one));
    }
  }
  const names = call.variables.map(([name]) => name);
  if (words.includes(null) || !names.every(isAssignable)) {
    return null;
  }
  if (!call.ref) {
    return `${words.join(' ')}\n${call.template.replace(/\n$/, '')}`;
  }
  return [
    ...commented(call),
    ...call.variables.map(([name, value]) => `${name} = ${python(value)}`),
    broken(words as string[])
  ].join('\n');
}

function option(flag: string | null, value: unknown): string | null {
  if (flag === null) {
    return null;
  }
  if (value === true) {
    return flag;
  }
  const text = word(String(value));
  return text === null ? null : `${flag} ${text}`;
}

/** Words on lines of some width, each but the last ending in a backslash, which IPython joins. */
function broken(words: string[]): string {
  const lines = [''];
  for (const next of words) {
    const line = lines[lines.length - 1];
    if (line && line.length + next.length + 3 > WIDTH) {
      lines.push(`    ${next}`);
    } else {
      lines[lines.length - 1] = line ? `${line} ${next}` : next;
    }
  }
  return lines.join(' \\\n');
}

/** The call as Python. */
function script(call: ICall): string {
  const what = call.ref
    ? pythonText(call.ref)
    : `current_workspace().prompts.scratch(${python(call.template, '    ')})`;
  return [
    ...commented(call),
    'from llmops_jupyter.workspace import current_workspace',
    '',
    'current_workspace().prompts.run(',
    `    ${what},`,
    `    ${python(Object.fromEntries(call.variables), '    ')},`,
    ...call.settings.map(
      ({ name, value }) => `    ${name}=${python(value, '    ')},`
    ),
    ')'
  ].join('\n');
}
