import '@testing-library/jest-dom';
import { fireEvent, render, screen, within } from '@testing-library/react';
import { axe } from 'jest-axe';
import * as React from 'react';

import { ITrace } from '../../api';
import { TraceView } from '../view';
import { answered, span, trace, trans } from './made';

const HOSTILE =
  '<img src=x onerror=alert(1)><script>alert(1)</script>[a](javascript:alert(1))\x1b[31m';

function show(given: ITrace, more = {}) {
  return render(<TraceView trace={given} trans={trans} {...more} />);
}

const grid = () => screen.getByRole('treegrid');
const details = () => screen.getByRole('region', { name: /Details/ });
const press = (key: string) => fireEvent.keyDown(grid(), { key });
const active = () =>
  document.getElementById(grid().getAttribute('aria-activedescendant') ?? '');

test('the tree says its levels and the bar says its times', () => {
  show(answered());
  const [, root, child] = within(grid()).getAllByRole('row');
  expect(root).toHaveAttribute('aria-level', '1');
  expect(root).toHaveAttribute('aria-expanded', 'true');
  expect(child).toHaveAttribute('aria-level', '2');
  expect(child).toHaveAttribute('aria-setsize', '5');
  expect(root).toHaveTextContent('takes 1 s, first token after 400 ms');
});

test('the root shows what all its spans found', () => {
  show(answered());
  const shown = details();
  for (const words of [
    'orders.md',
    'score 0.81',
    'in the prompt as [1]',
    'not in the prompt',
    '1 of 2 statements are in the passages',
    '✓ supported',
    '? not found',
    'denied',
    'score 0.91, decides from 0.5',
    'only noted',
    '1 check found nothing',
    'helpful',
    'short and true',
    'Where is my order?',
    'It left on Monday.',
    'Reasoning (22 characters)'
  ]) {
    expect(shown).toHaveTextContent(words);
  }
});

test('a name as long as a text is cut in headings, and told where one points at it', () => {
  const long = `${'a name '.repeat(40)}END`;
  const notebook = `/home/me/${'n'.repeat(300)}.ipynb`;
  const made = trace([span('r', { name: long, model: 'm'.repeat(5000) })]);
  const { container } = show({ ...made, notebook });
  const heading = within(details()).getByRole('heading', { level: 3 });
  expect(heading.textContent?.length).toBeLessThan(140);
  expect(within(heading).getByTitle(/END$/)).toBeInTheDocument();
  const place = screen.getByTitle(notebook);
  expect(place.textContent?.length).toBeLessThan(100);
  expect(container.textContent).not.toContain('m'.repeat(300));
});

test('each figure says how it was come by', () => {
  show(answered());
  expect(details()).toHaveTextContent('Cost$0.0021 estimated');
  expect(details()).toHaveTextContent('Memory at most512 MB measured');
  expect(details()).toHaveTextContent('Energy12 J estimated');
});

test('arrows move, close and open; details follow', () => {
  show(answered());
  press('ArrowDown');
  expect(active()).toHaveTextContent('retrieval docs');
  expect(details()).toHaveTextContent('order shipped');
  press('ArrowLeft');
  expect(active()).toHaveTextContent('prompt support');
  press('ArrowLeft');
  expect(active()).toHaveAttribute('aria-expanded', 'false');
  expect(within(grid()).getAllByRole('row')).toHaveLength(2);
  press('ArrowRight');
  press('ArrowRight');
  expect(active()).toHaveTextContent('retrieval docs');
  press('End');
  expect(active()).toHaveTextContent('execute_tool');
  press('Home');
  expect(active()).toHaveTextContent('prompt support');
  press('Enter');
  expect(details()).toHaveFocus();
});

test('an error is told in words, and a button goes to it', () => {
  show(answered());
  fireEvent.click(screen.getByText('Go to the error'));
  expect(active()).toHaveTextContent('error');
  expect(details()).toHaveTextContent('KeyError');
  expect(details()).toHaveTextContent('no such order');
  expect(details()).toHaveTextContent('"number": 17');
});

test('the cell is opened where it is known how, else only named', () => {
  const onOpenCell = jest.fn();
  const { unmount } = show(answered(), { onOpenCell });
  fireEvent.click(screen.getByText('Open shop.ipynb, cell [5]'));
  expect(onOpenCell).toHaveBeenCalledWith(
    '/home/me/project/shop.ipynb',
    'cell-7'
  );
  unmount();
  show(answered());
  expect(screen.getByText('shop.ipynb, cell [5]').tagName).toBe('BDI');
});

test('five thousand spans make few elements, wherever one is', () => {
  const spans = [span('root')];
  for (let i = 1; i < 5000; i += 1) {
    spans.push(span(`s${i}`, { parent_id: 'root', start_ns: 1e9 + i }));
  }
  show(trace(spans));
  expect(within(grid()).getAllByRole('row').length).toBeLessThan(80);
  expect(grid()).toHaveAttribute('aria-rowcount', '5001');
  press('End');
  expect(active()).toHaveTextContent('s4999');
  expect(within(grid()).getAllByRole('row').length).toBeLessThan(100);
});

test('a search finds spans and shows what they hang from', () => {
  const spans = [span('root')];
  for (let i = 0; i < 30; i += 1) {
    spans.push(span(`step ${i}`, { parent_id: 'root' }));
  }
  show(trace(spans));
  fireEvent.change(screen.getByRole('searchbox'), {
    target: { value: 'STEP 17' }
  });
  expect(within(grid()).getAllByRole('row')).toHaveLength(3);
  expect(screen.getByText('1 span found')).toBeInTheDocument();
});

test('hostile text in every field stays text', () => {
  const bad = span(HOSTILE, {
    ...{ name: HOSTILE, op: HOSTILE, model: HOSTILE, prompt: HOSTILE },
    ...{ error_type: HOSTILE, error_message: HOSTILE, session: HOSTILE },
    input: [
      {
        role: HOSTILE,
        content: HOSTILE,
        tool_calls: [{ name: HOSTILE, arguments: { [HOSTILE]: HOSTILE } }],
        tool_call_id: HOSTILE,
        more: HOSTILE
      }
    ],
    resources: {
      [HOSTILE]: { value: 1, unit: HOSTILE, source: 'measured', note: HOSTILE }
    },
    attributes: {
      [HOSTILE]: HOSTILE,
      'llmops.reasoning': HOSTILE,
      'gen_ai.retrieval.documents': [{ source: HOSTILE, content: HOSTILE }],
      'llmops.rag.claims': [{ text: HOSTILE, verdict: HOSTILE, why: HOSTILE }],
      'llmops.guard.verdicts': [
        { check: HOSTILE, decision: HOSTILE, action: HOSTILE, place: HOSTILE }
      ],
      'gen_ai.tool.name': HOSTILE,
      'output.value': HOSTILE
    }
  });
  const score = {
    ...{ trace_id: HOSTILE, span_id: null, name: HOSTILE, value: null },
    ...{ label: HOSTILE, explanation: HOSTILE, source: HOSTILE },
    ...{ identifier: HOSTILE, at: HOSTILE }
  };
  const { container } = show(
    trace([bad], { notebook: HOSTILE, cell_id: HOSTILE, scores: [score] })
  );
  fireEvent.click(screen.getByText(/^Attributes/));
  expect(container.querySelector('img, script, a, iframe, style')).toBeNull();
  expect(container.textContent).toContain('<script>');
  expect(container.textContent).not.toContain('\x1b');
});

test('attributes can be searched', () => {
  show(
    trace([
      span('a', { attributes: { 'one.key': 'apple', two: { x: 'pear' } } })
    ])
  );
  const attributes = screen.getByText(/^Attributes/).closest('details');
  if (attributes) {
    attributes.open = true;
    fireEvent(attributes, new Event('toggle'));
  }
  fireEvent.change(screen.getByRole('searchbox'), {
    target: { value: 'PEAR' }
  });
  expect(screen.getByText('two')).toBeInTheDocument();
  expect(screen.queryByText('one.key')).toBeNull();
});

test('a long conversation is shown from its end', () => {
  const input = Array.from({ length: 100 }, (_, i) => ({
    role: 'user',
    content: `message ${i}.`
  }));
  show(trace([span('a', { input })]));
  expect(screen.queryByText('message 0.')).toBeNull();
  expect(screen.getByText('message 99.')).toBeInTheDocument();
  fireEvent.click(screen.getByText('Show 80 earlier messages'));
  expect(screen.getByText('message 0.')).toBeInTheDocument();
});

test('a running span is told in words', () => {
  show(
    trace([span('a', { status: 'open', end_ns: null, duration_s: null })], {
      status: 'open'
    })
  );
  expect(active()).toHaveTextContent('running');
  expect(active()).toHaveTextContent('has not ended');
});

test('rows that were closed stay closed when the trace grows', () => {
  const { rerender } = show(answered());
  press('ArrowLeft');
  const more = answered();
  more.spans.push(span('new', { parent_id: 'root' }));
  rerender(<TraceView trace={more} trans={trans} />);
  expect(active()).toHaveAttribute('aria-expanded', 'false');
});

test('a trace without spans says so', () => {
  show(trace([]));
  expect(screen.getByRole('status')).toHaveTextContent('no spans');
});

test.each([false, true])(
  'it has no faults of accessibility (%p)',
  async compact => {
    const { container } = show(answered(), { compact });
    expect((await axe(container)).violations).toEqual([]);
  }
);
