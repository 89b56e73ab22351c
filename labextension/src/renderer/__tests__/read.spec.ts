import { readTrace } from '../read';

test.each([null, 1, 'x', [], {}, { spans: 'no' }, { spans: null }])(
  '%p is no trace',
  value => {
    expect(readTrace(value)).toBeNull();
  }
);

test('what is missing or of another kind becomes nothing', () => {
  const trace = readTrace({
    trace_id: 7,
    status: 'exploded',
    scores: 'none',
    spans: [
      {
        name: { a: 1 },
        start_ns: 'NaN',
        end_ns: Infinity,
        duration_s: NaN,
        input: 'hello',
        output: [3, { role: null, content: ['a'] }],
        attributes: [1],
        resources: { memory: 5, cpu: { value: 1, unit: 's', source: 'guess' } },
        more: 'unknown'
      },
      'no span',
      null
    ]
  });
  expect(trace?.trace_id).toBe('7');
  expect(trace?.status).toBe('open');
  expect(trace?.scores).toEqual([]);
  const [span] = trace?.spans ?? [];
  expect(trace?.spans).toHaveLength(1);
  expect(span.name).toContain('"a": 1');
  expect(span.start_ns).toBeNaN();
  expect([span.end_ns, span.duration_s]).toEqual([null, null]);
  expect(span.input).toEqual([]);
  expect(span.output).toHaveLength(1);
  expect(span.output[0].content).toContain('"a"');
  expect(span.attributes).toEqual({});
  expect(span.resources).toEqual({
    cpu: { value: 1, unit: 's', source: 'assumed', note: '' }
  });
});

test('spans with one id become two', () => {
  const trace = readTrace({ spans: [{ span_id: 'a' }, { span_id: 'a' }, {}] });
  const ids = trace?.spans.map(span => span.span_id) ?? [];
  expect(new Set(ids).size).toBe(3);
});
