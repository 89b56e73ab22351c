import { nullTranslator } from '@jupyterlab/translation';

import { ISpan, ITrace } from '../../api';

export const trans = nullTranslator.load('llmops_jupyter');

/** A span of a tenth of a second. */
export function span(id: string, given: Partial<ISpan> = {}): ISpan {
  return {
    span_id: id,
    parent_id: null,
    name: id,
    op: 'function',
    kind: 'internal',
    start_ns: 1e9,
    end_ns: 1.1e9,
    first_token_ns: null,
    duration_s: 0.1,
    status: 'ok',
    error_type: null,
    error_message: null,
    provider: null,
    model: null,
    model_digest: null,
    prompt: '',
    session: null,
    seed: null,
    input_tokens: null,
    output_tokens: null,
    cached_tokens: null,
    cost: null,
    resources: null,
    input: [],
    output: [],
    attributes: {},
    schema_url: '',
    ...given
  };
}

export function trace(spans: ISpan[], given: Partial<ITrace> = {}): ITrace {
  return {
    trace_id: 'abcdef0123456789',
    started_at: '2026-01-02T03:04:05.678+00:00',
    status: 'ok',
    notebook: null,
    cell_id: null,
    execution_count: null,
    kernel_id: null,
    spans,
    scores: [],
    ...given
  };
}

const YES = 'yes';

/** A run of a prompt over documents, as the package keeps it. */
export function answered(): ITrace {
  const root = span('root', {
    name: 'prompt support',
    prompt: 'support@3',
    end_ns: 2e9,
    duration_s: 1,
    first_token_ns: 1.4e9,
    input_tokens: 40,
    output_tokens: 7,
    cost: 0.0021,
    resources: {
      memory: {
        value: 512 * 1024 * 1024,
        unit: 'B',
        source: 'measured',
        note: ''
      },
      energy: {
        value: 12,
        unit: 'J',
        source: 'estimated',
        note: 'from a table'
      }
    },
    input: [{ role: 'user', content: 'Where is my order?' }],
    output: [{ role: 'assistant', content: 'It left on Monday.' }],
    attributes: { 'llmops.reasoning': 'They ask for a parcel.' }
  });
  const retrieval = span('retrieval', {
    parent_id: 'root',
    name: 'retrieval docs',
    op: 'retrieval',
    attributes: {
      'gen_ai.data_source.id': 'docs',
      'gen_ai.retrieval.query.text': 'order shipped',
      'gen_ai.retrieval.documents': [
        {
          ...{ id: 'c1', score: 0.81, source: 'orders.md' },
          ...{ locator: 'line 12', word_rank: 1, vector_rank: 2, cosine: 0.7 }
        },
        { id: 'c2', score: 0.4, source: 'faq.md', locator: 'page 3' }
      ]
    }
  });
  const packing = span('packing', {
    parent_id: 'root',
    op: 'packing',
    attributes: {
      'llmops.rag.passages': [{ number: 1, id: 'c1', source: 'orders.md' }]
    }
  });
  const check = span('check', {
    parent_id: 'root',
    op: 'check',
    attributes: {
      'llmops.rag.claims': [
        {
          text: 'It left on Monday.',
          verdict: 'supported',
          why: 'the same words',
          citations: [
            { number: 1, quote: 'left on Monday', source: 'orders.md' }
          ]
        },
        { text: 'It is blue.', verdict: 'unsupported', citations: [] }
      ]
    }
  });
  const guard = span('guard', {
    parent_id: 'root',
    op: 'run_guardrail',
    attributes: {
      'llmops.guard.verdicts': [
        {
          ...{ check: 'pii', place: 'output', decision: 'allow' },
          ...{ action: 'none', policy: 'support@2' }
        },
        {
          ...{ check: 'injection', place: 'input', decision: 'deny' },
          ...{ action: 'noted', reason: 'It gives orders.', score: 0.91 },
          ...{ threshold: 0.5, evidence: 'ignore all', policy: 'support@2' }
        }
      ]
    }
  });
  const tool = span('tool', {
    parent_id: 'root',
    name: 'execute_tool find_order',
    op: 'execute_tool',
    status: 'error',
    error_type: 'KeyError',
    error_message: 'no such order',
    attributes: {
      'gen_ai.tool.name': 'find_order',
      'gen_ai.tool.call.arguments': { number: 17 },
      'gen_ai.tool.call.result': 'Error: no such order'
    }
  });
  return trace([root, retrieval, packing, check, guard, tool], {
    notebook: '/home/me/project/shop.ipynb',
    cell_id: 'cell-7',
    execution_count: 5,
    scores: [
      {
        trace_id: 'abcdef0123456789',
        span_id: null,
        name: 'helpful',
        value: null,
        label: YES,
        explanation: 'short and true',
        source: 'human',
        identifier: 'ana',
        at: '2026-01-02T03:05:00+00:00'
      }
    ]
  });
}
