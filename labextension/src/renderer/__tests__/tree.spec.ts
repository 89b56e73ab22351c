import { bar, forest, lasted, rows, scaleOf, total, waited } from '../tree';
import { span } from './made';

const names = (nodes: ReturnType<typeof forest>) =>
  nodes.map(node => `${'-'.repeat(node.level - 1)}${node.span.span_id}`);

test('children stand below their parents in the order of their start', () => {
  const nodes = forest([
    span('late', { parent_id: 'root', start_ns: 3e9 }),
    span('root'),
    span('early', { parent_id: 'root', start_ns: 2e9 }),
    span('inner', { parent_id: 'early', start_ns: 2e9 })
  ]);
  expect(names(nodes)).toEqual(['root', '-early', '--inner', '-late']);
  expect(nodes[0].below).toBe(3);
  expect([nodes[3].place, nodes[3].siblings]).toEqual([2, 2]);
});

test('a span whose parent is missing is a root', () => {
  expect(names(forest([span('a', { parent_id: 'gone' }), span('b')]))).toEqual([
    'a',
    'b'
  ]);
});

test('a ring of parents is opened at its earliest span, and loses none', () => {
  const nodes = forest([
    span('x', { parent_id: 'z', start_ns: 3 }),
    span('y', { parent_id: 'x', start_ns: 1 }),
    span('z', { parent_id: 'y', start_ns: 2 }),
    span('tail', { parent_id: 'x', start_ns: 9 }),
    span('self', { parent_id: 'self', start_ns: 4 })
  ]);
  expect(names(nodes)).toEqual(['y', '-z', '--x', '---tail', 'self']);
});

test('a chain of twenty thousand spans is laid out', () => {
  const nodes = forest(
    Array.from({ length: 20_000 }, (_, i) =>
      span(`s${i}`, { parent_id: i ? `s${i - 1}` : null })
    )
  );
  expect(nodes[19_999].level).toBe(20_000);
  expect(nodes[0].below).toBe(19_999);
});

test('below a closed span nothing is seen; a search shows what it finds and what that hangs from', () => {
  const nodes = forest([
    span('root'),
    span('a', { parent_id: 'root', start_ns: 2 }),
    span('a1', { parent_id: 'a', start_ns: 3 }),
    span('b', { parent_id: 'root', start_ns: 4 })
  ]);
  expect(names(rows(nodes, new Set(['a'])))).toEqual(['root', '-a', '-b']);
  const found = rows(nodes, new Set(['root']), new Set([nodes[2]]));
  expect(names(found)).toEqual(['root', '-a', '--a1']);
});

test('the scale spans what is known, and an open span reaches its end', () => {
  const nodes = forest([
    span('a', { start_ns: 10, end_ns: null, first_token_ns: 15 }),
    span('b', { start_ns: 10, end_ns: 30 }),
    span('c', { start_ns: NaN, end_ns: null })
  ]);
  const scale = scaleOf(nodes);
  expect(scale).toEqual({ start: 10, length: 20 });
  expect(bar(nodes[0].span, scale)).toEqual({ from: 0, to: 1, first: 0.25 });
  expect(bar(nodes[2].span, scale)).toBeNull();
});

test('a clock that went backwards gives no negative time', () => {
  const back = span('a', {
    ...{ start_ns: 20, end_ns: 10, first_token_ns: 5, duration_s: -1e-8 }
  });
  expect(lasted(back)).toBeNull();
  expect(waited(back)).toBeNull();
  const drawn = bar(back, { start: 0, length: 40 });
  expect(drawn?.to).toBe(drawn?.from);
  expect(drawn?.first).toBeNull();
});

test('a trace without length is drawn whole', () => {
  const nodes = forest([span('a', { start_ns: 5, end_ns: 5 })]);
  expect(bar(nodes[0].span, scaleOf(nodes))).toEqual({
    ...{ from: 0, to: 1, first: null }
  });
});

test('a total counts what a span sums up itself only once', () => {
  const nodes = forest([
    span('root'),
    span('run', { parent_id: 'root', input_tokens: 10 }),
    span('chat', { parent_id: 'run', input_tokens: 10 }),
    span('other', { parent_id: 'root', input_tokens: 5 })
  ]);
  expect(total(nodes, nodes[0], s => s.input_tokens)).toBe(15);
  expect(total(nodes, nodes[0], s => s.cost)).toBeNull();
});
