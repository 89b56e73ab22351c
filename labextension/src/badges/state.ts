import { TranslationBundle } from '@jupyterlab/translation';

import { ICell, IPrompt } from '../api';

/** What a prompt cell's badge says. */
export interface IBadge {
  prompt: string;
  /** The version that the cell ran last. */
  version: number;
  /** The newest one of all. */
  latest: number;
  /** The one before `version` that is still kept; null for the first. */
  previous: number | null;
  /** Whether the cell's text is another than the one that ran; null where that is not known. */
  differs: boolean | null;
}

/** The badge of a cell with this text; null where it is not the prompt that ran in it. */
export function badgeOf(
  source: string,
  row: ICell,
  prompt: IPrompt | null
): IBadge | null {
  const parts = split(source);
  if (!parts || !parts.words.includes(row.prompt)) {
    return null;
  }
  const kept = prompt?.versions.find(one => one.version === row.version);
  const older = (prompt?.versions ?? [])
    .map(one => one.version)
    .filter(version => version < row.version);
  return {
    prompt: row.prompt,
    version: row.version,
    latest: row.latest,
    previous: older.length ? Math.max(...older) : null,
    differs: kept ? settled(kept.template) !== settled(parts.body) : null
  };
}

/** Whether a cell is a prompt with a name, or may be. */
export function isPrompt(source: string): boolean {
  return (split(source)?.words.length ?? 0) > 0;
}

function split(source: string): { words: string[]; body: string } | null {
  const text = source.replace(/\r\n?/g, '\n').replace(/^\s*\n/, '');
  const end = text.indexOf('\n');
  const first = end < 0 ? text : text.slice(0, end);
  const words = first.trim().split(/\s+/);
  return words[0] === '%%prompt'
    ? { words: words.slice(1), body: end < 0 ? '' : text.slice(end + 1) }
    : null;
}

/** A template as it is kept: without blank lines at its end. */
function settled(template: string): string {
  return template.replace(/\r\n?/g, '\n').replace(/\n+$/, '');
}

/** The badge's text, and what it says to those who point at it or listen. */
export function badgeWords(
  badge: IBadge,
  trans: TranslationBundle
): { text: string; title: string; state: string } {
  const name = `${badge.prompt}@${badge.version}`;
  const said = [trans.__('This cell ran as %1.', name)];
  let mark = '';
  if (badge.differs) {
    said.push(trans.__('Its text was changed since.'));
    mark = trans.__('changed');
  }
  if (badge.latest > badge.version) {
    const newest = `${badge.prompt}@${badge.latest}`;
    said.push(trans.__('There is a newer version: %1.', newest));
    mark = mark || trans.__('newest is @%1', badge.latest);
  }
  said.push(trans.__('Show what changed.'));
  return {
    text: mark ? `${name} · ${mark}` : name,
    title: said.join(' '),
    state: mark ? 'warning' : 'ok'
  };
}
