import { ISpan, ITrace } from '../../api';
import { word, wordsOf } from '../../shared/magicline';
import { pythonText } from '../python';
import { replayOf } from '../replay';
import { span, trace, trans } from './stand_ins';

interface ICase {
  name: string;
  root: Partial<ISpan>;
  chat: Record<string, unknown>;
  cell: string;
}

const CASES = jest.requireActual<ICase[]>('./replays.json');

/** A trace of a prompt with one call of a model. */
function traceOf(root: Partial<ISpan>, chat: Record<string, unknown>): ITrace {
  return trace({
    trace_id: '1f0a9c2e77',
    spans: [
      span({ prompt: '', input: [], ...root }),
      span({
        span_id: 'c',
        parent_id: 'r',
        op: 'chat',
        prompt: '',
        input: [],
        attributes: chat
      })
    ]
  });
}

// What these cells mean to IPython and the magics is tested in tests/unit/test_replay_cells.py.
it.each(CASES.map(one => [one.name, one] as const))(
  'writes the cell of %s',
  (_, { root, chat, cell }) => {
    const made = replayOf(traceOf(root, chat), trans);
    expect(made.cell).toBe(cell);
    expect(made.missing).toEqual([]);
  }
);

const CHAT = { 'gen_ai.request.temperature': 0 };

it('says which variables are not whole, and leaves them to the notebook', () => {
  const { cell, missing } = replayOf(
    traceOf(
      {
        prompt: 'p@1',
        attributes: {
          'llmops.prompt.variables': {
            long: 'abc… (20000 characters)',
            list: ['a', '… (7 more)'],
            big: 2 ** 60,
            whole: 'x'
          }
        }
      },
      CHAT
    ),
    trans
  );
  expect(missing).toHaveLength(3);
  expect(cell).not.toMatch(/^(long|list|big) =/m);
  expect(cell).toMatch(/^# .*"long"/m);
  expect(cell).toMatch(/^whole = "x"$/m);
});

it('says that variables and settings are missing', () => {
  const bare = traceOf({ prompt: 'p@1', attributes: {}, model: null }, {});
  bare.spans[1].model = null;
  const { cell, missing } = replayOf(bare, trans);
  expect(cell).toMatch(/^%prompt run p@1 --seed 7$/m);
  expect(missing.join(' ')).toMatch(/variables.*|model/);
  expect(missing).toHaveLength(3);
});

it('says that tools and earlier turns are not brought back', () => {
  const { missing } = replayOf(
    traceOf(
      {
        prompt: 'p@1',
        session: 's',
        attributes: { 'llmops.prompt.variables': {} }
      },
      { ...CHAT, 'gen_ai.tool.definitions': [{ name: 'add' }] }
    ),
    trans
  );
  expect(missing.join(' ')).toMatch(/--tools.*conversation/);
});

it('looks passages up again for a version, and writes them out for a scratch prompt', () => {
  const made = (prompt: string) => {
    const it = traceOf(
      {
        prompt,
        attributes: { 'llmops.prompt.variables': {} },
        input: [{ role: 'user', content: 'Q' }]
      },
      CHAT
    );
    it.spans[1].input = [{ role: 'user', content: 'Passage. Q' }];
    it.spans.push(
      span({
        span_id: 'f',
        parent_id: 'r',
        op: 'retrieval',
        prompt: '',
        attributes: { 'gen_ai.data_source.id': 'docs' }
      })
    );
    return replayOf(it, trans);
  };
  expect(made('p@1').cell).toContain('--rag docs');
  expect(made('p@1').missing).toHaveLength(1);
  expect(made('').cell).not.toContain('--rag');
  expect(made('').cell).toContain('\nPassage. Q');
});

it('takes the stop of a chain of thought for what the version adds itself', () => {
  const thinking = traceOf(
    { prompt: 'p@1', attributes: { 'llmops.prompt.variables': {} } },
    { ...CHAT, 'gen_ai.request.stop_sequences': ['END', 'Answer:'] }
  );
  thinking.spans[1].input = [
    { role: 'user', content: 'Q … a last line that begins with "Answer:".' }
  ];
  const { cell } = replayOf(thinking, trans);
  expect(cell).toContain('--stop END');
  expect(cell).not.toContain('Answer:');
});

it('finds the prompt within a function that was traced', () => {
  const within = trace({
    spans: [
      span({ span_id: 'f', prompt: '', op: 'function', input: [] }),
      span({ span_id: 'p', parent_id: 'f', prompt: 'p@2' })
    ]
  });
  expect(replayOf(within, trans).cell).toContain('%prompt run p@2');
});

it('makes no cell of calls of tools, nor of nothing, and says why', () => {
  const called = traceOf(
    {
      input: [
        {
          role: 'assistant',
          content: '',
          tool_calls: [{ name: 'add', arguments: {} }]
        }
      ]
    },
    CHAT
  );
  const nothing = trace({ spans: [span({ prompt: '', input: [] })] });
  for (const one of [called, nothing, trace({ spans: [] })]) {
    const { cell, missing } = replayOf(one, trans);
    expect(cell).toBeNull();
    expect(missing[0]).not.toBe('');
  }
});

it('does not hang on spans that are each other’s parents', () => {
  const round = trace({
    spans: [
      span({ span_id: 'a', parent_id: 'b' }),
      span({ span_id: 'b', parent_id: 'a', prompt: '' }),
      span({ span_id: 'c', parent_id: 'd', op: 'chat', prompt: '' }),
      span({ span_id: 'd', parent_id: 'c', prompt: '' })
    ]
  });
  expect(replayOf(round, trans).cell).toContain('%prompt run greet@1');
});

it('reads each word as it was quoted', () => {
  for (const text of ['a', 'a b', '"', "'", '\\', 'a\\', '', '--x', '\'"\\']) {
    const quoted = word(text);
    expect(quoted === null ? [text] : wordsOf(quoted)).toEqual([text]);
  }
});

it('writes nothing into a string that ends a line or is not seen', () => {
  const all = Array.from({ length: 0x2100 }, (_, i) => String.fromCharCode(i));
  const text = pythonText(all.join('') + '\ud800\ufeff\u{e0001}');
  expect(text).not.toMatch(/[\p{Cc}\p{Cf}\p{Cs}\p{Zl}\p{Zp}]/u);
});

it('takes no time for long runs of signs', () => {
  const began = Date.now();
  const signs = '%'.repeat(200_000);
  const { cell } = replayOf(
    traceOf({ input: [{ role: 'user', content: `a${signs}` }] }, CHAT),
    trans
  );
  expect(cell).toContain(signs);
  expect(Date.now() - began).toBeLessThan(2000);
});
