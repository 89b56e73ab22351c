import { IMessage } from '../api';

/** The roles that a template can have. */
const ROLES = ['system', 'user', 'assistant'];
const ROLE_LINE = /(^|\n)(system|user|assistant):/g;
const ESCAPED_LINE = /(^|\n)\\(system|user|assistant):/g;
/** Braces and signs that mean something to the template language, if there is one of them. */
const SIGNS = /[{}%\r\0]+/g;
const NOTICED = /\{\{|\}\}|\{%|%\}|[\r\0]/;
/** What Python takes for space beside what JavaScript does. */
const SPACES = '\u001c\u001d\u001e\u001f\u0085';
/** Stands for nothing, and keeps the space beside it from being taken for the cell's own. */
const EDGE = '{{ "" }}';

/**
 * The template that is filled to these very messages; null if none is.
 *
 * What would mean something to the template language is put in as a value, so that it is text and nothing else.
 */
export function templateOf(messages: readonly IMessage[]): string | null {
  if (
    messages.length === 0 ||
    messages.some(
      message =>
        !ROLES.includes(message.role) ||
        typeof message.content !== 'string' ||
        (message.tool_calls?.length ?? 0) > 0
    )
  ) {
    return null;
  }
  if (messages.length === 1 && messages[0].role === 'user') {
    return `${literal(messages[0].content) || EDGE}\n`;
  }
  return messages
    .map(message => `${message.role}: ${literal(message.content)}\n`)
    .join('');
}

function literal(content: string): string {
  const text = content
    .replace(SIGNS, found =>
      NOTICED.test(found) ? `{{ ${quoted(found)} }}` : found
    )
    .replace(ESCAPED_LINE, '$1{{ "\\\\" }}$2:')
    .replace(ROLE_LINE, '$1\\$2:');
  const before = isSpace(content.charAt(0)) ? EDGE : '';
  const after = isSpace(content.charAt(content.length - 1)) ? EDGE : '';
  return `${before}${text}${after}`;
}

/** Whether the cell would take a character off the edge of a message. */
function isSpace(sign: string): boolean {
  return sign !== '' && (sign.trim() === '' || SPACES.includes(sign));
}

function quoted(signs: string): string {
  const escaped = signs.replace(/\r/g, '\\r').replace(/\0/g, '\\x00');
  return `"${escaped}"`;
}
