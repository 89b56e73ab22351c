import { Contents } from '@jupyterlab/services';
import { nullTranslator } from '@jupyterlab/translation';

import { create, quickstart } from '../quickstart';

const trans = nullTranslator.load('llmops_jupyter');

test('the notebook loads the package and holds a prompt that is ready to run', () => {
  const made = quickstart(trans, {
    name: 'python3',
    display_name: 'Python 3',
    language: 'python'
  } as never);
  const cells = made.cells as { id: string; source: string }[];
  expect(cells.map(cell => cell.source.split('\n')[0])).toEqual([
    '# A first prompt',
    '%load_ext llmops_jupyter',
    'country = "France"',
    '%%prompt capital -o reply --temperature 0 --max-tokens 40'
  ]);
  expect(new Set(cells.map(cell => cell.id)).size).toBe(4);
  expect(made.metadata).toMatchObject({ kernelspec: { name: 'python3' } });
});

test('without a known kernel none is named', () => {
  expect(quickstart(trans, null).metadata).toEqual({});
});

test('it is made in the folder that was asked for', async () => {
  const newUntitled = jest.fn(async () => ({ path: 'sub/Untitled.ipynb' }));
  const save = jest.fn();
  const contents = { newUntitled, save } as unknown as Contents.IManager;
  expect(await create(contents, 'sub', { cells: [] })).toBe(
    'sub/Untitled.ipynb'
  );
  expect(newUntitled).toHaveBeenCalledWith({ path: 'sub', type: 'notebook' });
  expect(save).toHaveBeenCalledWith(
    'sub/Untitled.ipynb',
    expect.objectContaining({ content: { cells: [] } })
  );
});
