import { TranslationBundle } from '@jupyterlab/translation';

import { Client, IScore, ITrace } from '../api';

/** The score of a person's thumb: `up` counts as 1 and `down` as 0, as with `%trace score last thumb=up`. */
export const THUMB = 'thumb';
/** The score that carries a note where there is no thumb to carry it. */
export const NOTE = 'note';
/** The label of a score that no longer holds: a score is never deleted, a later one replaces it. */
export const NONE = 'none';

/** What was there before an annotation, to be put back. */
export interface IBefore {
  name: string;
  value: number | string;
  explanation: string;
}

/** The score that a person gave under a name, the latest one; null if there is none. */
export function given(trace: ITrace, name: string): IScore | null {
  const found = trace.scores.filter(
    score => score.source === 'human' && score.name === name
  );
  return found[found.length - 1] ?? null;
}

/** What a score says: its label, else its number. */
export function said(score: IScore): string {
  return score.label ?? String(score.value ?? '');
}

/** The value that gives the same score again. */
function valueOf(score: IScore): number | string {
  return score.label ?? score.value ?? NONE;
}

/** Keep a thumb, with the note that was there; the answer is what puts things back. */
export async function thumb(
  client: Pick<Client, 'score'>,
  trace: ITrace,
  value: 'up' | 'down'
): Promise<IBefore> {
  const old = given(trace, THUMB);
  await client.score(trace.trace_id, THUMB, value, old?.explanation ?? '');
  return before(old, THUMB);
}

/** Keep a note with the thumb, or under a name of its own where there is none. */
export async function note(
  client: Pick<Client, 'score'>,
  trace: ITrace,
  text: string
): Promise<IBefore> {
  const old = given(trace, THUMB);
  if (old && said(old) !== NONE) {
    await client.score(trace.trace_id, THUMB, valueOf(old), text);
    return before(old, THUMB);
  }
  const noted = given(trace, NOTE);
  await client.score(trace.trace_id, NOTE, 'noted', text);
  return before(noted, NOTE);
}

/** Score again as it was before; what was not there becomes `none`. */
export async function undo(
  client: Pick<Client, 'score'>,
  trace: string,
  { name, value, explanation }: IBefore
): Promise<void> {
  await client.score(trace, name, value, explanation);
}

function before(old: IScore | null, name: string): IBefore {
  return old
    ? { name, value: valueOf(old), explanation: old.explanation }
    : { name, value: NONE, explanation: '' };
}

/** Keys of the detail, with what they do. */
export function keys(trans: TranslationBundle): [string, string][] {
  return [
    ['+', trans.__('good: score thumb=up')],
    ['-', trans.__('bad: score thumb=down')],
    ['n', trans.__('write a note')],
    ['u', trans.__('undo: score again what was there before, or none')],
    ['j', trans.__('next trace')],
    ['k', trans.__('previous trace')],
    ['Esc', trans.__('back to the list')]
  ];
}

/** Whether a key press is meant for something that is written or chosen in. */
export function isTyped(event: {
  target: EventTarget | null;
  defaultPrevented: boolean;
  altKey: boolean;
  ctrlKey: boolean;
  metaKey: boolean;
}): boolean {
  const at = event.target instanceof Element ? event.target : null;
  return (
    event.defaultPrevented ||
    event.altKey ||
    event.ctrlKey ||
    event.metaKey ||
    Boolean(at?.closest('input, textarea, select, [contenteditable="true"]'))
  );
}
