import { nullTranslator } from '@jupyterlab/translation';

import { ICell, IPrompt } from '../../api';
import { badgeOf, badgeWords, isPrompt } from '../state';

const trans = nullTranslator.load('llmops_jupyter');
const row: ICell = {
  ...{ cell_id: 'c', prompt: 'support', version: 3, latest: 3, trace_id: 't' }
};

function prompt(...templates: [number, string][]): IPrompt {
  return {
    name: 'support',
    versions: templates.map(([version, template]) => ({
      ...{ version, template, saved_at: '', note: '', aliases: [] },
      ...{ cell: '', settings: {}, traces: 0 }
    }))
  } as unknown as IPrompt;
}

const kept = prompt([3, 'user: hi\n'], [1, 'user: hello\n']);

test('a cell that is as it ran says its version', () => {
  const badge = badgeOf('%%prompt support -m x\nuser: hi\n\n', row, kept);
  expect(badge).toEqual({
    ...{ prompt: 'support', version: 3, latest: 3 },
    ...{ previous: 1, differs: false }
  });
  expect(badge && badgeWords(badge, trans)).toMatchObject({
    ...{ text: 'support@3', state: 'ok' }
  });
});

test('options and line ends of another system make no other text', () => {
  const source = '%%prompt -m x support --seed 1\r\nuser: hi';
  expect(badgeOf(source, row, kept)?.differs).toBe(false);
});

test('a changed text and a newer version are marked in words', () => {
  const changed = badgeOf('%%prompt support\nuser: bye', row, kept);
  expect(changed && badgeWords(changed, trans)).toMatchObject({
    ...{ text: 'support@3 · changed', state: 'warning' }
  });
  const older = badgeOf(
    '%%prompt support\nuser: hi',
    { ...row, latest: 5 },
    kept
  );
  const said = older && badgeWords(older, trans);
  expect(said?.text).toBe('support@3 · newest is @5');
  expect(said?.title).toContain('support@5');
});

test('where the version is not known, nothing is said of the text', () => {
  expect(badgeOf('%%prompt support\nuser: x', row, null)?.differs).toBeNull();
});

test.each([
  'print("%%prompt support")',
  '%%prompt other\nuser: hi',
  '%%promptly support\nuser: hi',
  'user: hi',
  ''
])('%p is not the prompt that ran', source => {
  expect(badgeOf(source, row, kept)).toBeNull();
});

test('a prompt cell may begin with blank lines', () => {
  expect(isPrompt('\n\n%%prompt support\nhi')).toBe(true);
  expect(isPrompt('%%prompt\nscratch')).toBe(false);
});
