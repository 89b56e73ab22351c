import '@testing-library/jest-dom';
import { fireEvent, render, screen, within } from '@testing-library/react';
import * as React from 'react';

import { Client, IMonitor, IRule, ITraffic } from '../../api';
import { ApiError } from '../../request';
import {
  complaintsFail,
  dangerous,
  HOSTILE,
  Stage,
  violations
} from '../../shared/__tests__/stage';
import { tracesBefore } from '../alarms';
import { worstFirst } from '../rules';
import Section from '../section';

complaintsFail();

const RULE: IRule = {
  name: 'support-errors',
  state: 'ok',
  value: 0.012,
  threshold: 0.05,
  unit: '%',
  traces: 'prompt:support status:error',
  words: 'error_rate of prompt support over 24h: alert above 5.0 %',
  since: '2026-11-28T10:00:00+00:00',
  silenced_until: null
};

const BUCKET: ITraffic = {
  at: '2026-11-28T10:00:00+00:00',
  calls: 40,
  errors: 2,
  latency_p50_s: 0.4,
  latency_p95_s: 1.2,
  input_tokens: 4000,
  output_tokens: 900,
  cost: 0.01
};

const NOTHING: IMonitor = {
  rules: [],
  events: [],
  timeline: [],
  bucket_s: 3600,
  drift: [],
  costs: [],
  budgets: []
};

async function shown(body: Partial<IMonitor>, item = '') {
  const monitor = jest.fn(async (since?: string) => {
    void since;
    return { ...NOTHING, ...body };
  });
  const stage = new Stage({ monitor } as Partial<Client>);
  const made = render(<Section {...stage.props} item={item} />);
  await screen.findByRole('button', { name: 'Rules' });
  return { stage, monitor, ...made };
}

function click(name: string | RegExp): void {
  fireEvent.click(screen.getByRole('button', { name }));
}

describe('Monitor', () => {
  it('says of every part how to begin where there is nothing', async () => {
    await shown({});
    click('Drift');
    expect(screen.getByText(/%monitor alerts add errors/)).toBeVisible();
    expect(screen.getByText('No alarms in this time.')).toBeVisible();
    expect(
      screen.getAllByText('No calls of models in this time.')
    ).toHaveLength(2);
    expect(screen.getByText(/%monitor baseline support/)).toBeVisible();
  });

  it('asks again for another time, and keeps what is open', async () => {
    const { monitor } = await shown({});
    click('Drift');
    expect(screen.getByRole('radio', { name: '7 days' })).toBeChecked();
    fireEvent.click(screen.getByRole('radio', { name: '24 hours' }));
    expect(
      await screen.findByRole('button', { name: 'Drift' })
    ).toHaveAttribute('aria-expanded', 'true');
    expect(monitor.mock.calls.map(([since]) => since)).toEqual(['7d', '24h']);
  });

  it('is asked anew when something has changed', async () => {
    const { stage, monitor } = await shown({});
    await stage.news('traces');
    expect(monitor).toHaveBeenCalledTimes(1);
    await stage.news('monitor');
    expect(monitor).toHaveBeenCalledTimes(2);
  });

  it('shows the fault in the words of the server', async () => {
    const stage = new Stage({
      monitor: jest
        .fn()
        .mockRejectedValue(new ApiError(500, 'StoreError', 'It is locked.'))
    });
    render(<Section {...stage.props} />);
    expect(await screen.findByText('It is locked.')).toBeVisible();
  });

  it('shows what comes from the store as text only', async () => {
    const { container } = await shown({
      rules: [{ ...RULE, name: HOSTILE, words: HOSTILE, unit: HOSTILE }],
      events: [
        {
          at: RULE.since as string,
          rule: HOSTILE,
          from: HOSTILE,
          to: HOSTILE,
          words: HOSTILE
        }
      ],
      drift: [
        {
          id: '1',
          at: HOSTILE,
          baseline: HOSTILE,
          drifted: true,
          words: HOSTILE,
          features: [{ name: HOSTILE, p_value: 0.01, drifted: true }]
        }
      ],
      costs: [
        {
          name: HOSTILE,
          calls: 1,
          input_tokens: 1,
          output_tokens: 1,
          cost: 1,
          source: 'assumed'
        }
      ],
      budgets: [
        { name: HOSTILE, unit: HOSTILE, used: 1, limit: 2, per: HOSTILE }
      ]
    });
    click('Drift');
    fireEvent.click(screen.getAllByRole('button', { name: /alert\(1\)/ })[0]);
    expect(dangerous(container)).toEqual([]);
    expect(container.textContent).toContain('<script>alert(1)</script>');
    expect(container.textContent).not.toContain('\u001b');
  });

  it('makes few elements of very many things', async () => {
    const many = <T,>(make: (i: number) => T) =>
      Array.from({ length: 20_000 }, (_, i) => make(i));
    const { container } = await shown({
      rules: many(i => ({ ...RULE, name: `r${i}` })),
      events: many(i => ({
        at: new Date(i * 1000).toISOString(),
        rule: `r${i}`,
        from: 'ok',
        to: 'alert',
        words: 'w'
      })),
      timeline: many(i => ({
        ...BUCKET,
        at: new Date(i * 60_000).toISOString()
      })),
      costs: many(i => ({
        name: `p${i}`,
        calls: 1,
        input_tokens: 1,
        output_tokens: 1,
        cost: i,
        source: 'measured' as const
      })),
      budgets: many(i => ({
        name: `b${i}`,
        unit: 'calls',
        used: 1,
        limit: 2,
        per: 'day'
      }))
    });
    expect(container.querySelectorAll('*').length).toBeLessThan(1500);
  });

  it('is accessible with everything in it', async () => {
    const { container } = await shown({
      rules: [{ ...RULE, state: 'alert' }],
      events: [
        {
          at: BUCKET.at,
          rule: RULE.name,
          from: 'ok',
          to: 'alert',
          words: '7 %'
        }
      ],
      timeline: [BUCKET, { ...BUCKET, at: '2026-11-28T11:00:00+00:00' }],
      costs: [
        {
          name: 'support',
          calls: 3,
          input_tokens: 1,
          output_tokens: 2,
          cost: 0.1,
          source: 'estimated'
        }
      ],
      budgets: [{ name: 'b', unit: 'calls', used: 9, limit: 10, per: 'day' }]
    });
    click(/^support-errors/);
    expect(await violations(container)).toEqual([]);
  });
});

describe('Rules', () => {
  it('stand with the worst first, and of one state with the newest first', () => {
    const names = worstFirst([
      { ...RULE, name: 'fine' },
      { ...RULE, name: 'silent', state: 'no data' },
      { ...RULE, name: 'old', state: 'alert', since: '2026-11-01T00:00:00Z' },
      { ...RULE, name: 'soft', state: 'warning' },
      { ...RULE, name: 'new', state: 'alert', since: '2026-11-20T00:00:00Z' },
      { ...RULE, name: 'never', state: 'alert', since: null }
    ]).map(rule => rule.name);
    expect(names).toEqual(['new', 'old', 'never', 'soft', 'silent', 'fine']);
  });

  it('tell state, value and limit in one line', async () => {
    await shown({
      rules: [
        { ...RULE, state: 'alert', value: 0.0712 },
        {
          ...RULE,
          name: 'drift',
          state: 'no data',
          value: null,
          threshold: null
        }
      ]
    });
    const list = screen.getByRole('list', { name: 'Rules' });
    const [alert, none] = within(list).getAllByRole('button');
    expect(alert).toHaveTextContent('support-errors ✗ alert 7.1 %, limit 5 %');
    expect(none).toHaveTextContent('drift ? no data –');
    expect(screen.getByText('2 rules: 1 alert, 1 no data')).toBeVisible();
  });

  it('say when they are silenced, and until when', async () => {
    const silenced_until = new Date(Date.now() + 3_600_000).toISOString();
    const { stage } = await shown({ rules: [{ ...RULE, silenced_until }] });
    click(/^support-errors.*silenced/);
    expect(screen.getByText(/silenced until/)).toBeVisible();
    click('End the silence');
    expect(stage.host.insertCell).toHaveBeenCalledWith(
      '%monitor alerts speak support-errors'
    );
  });

  it('do not say so once the silence is over', async () => {
    await shown({
      rules: [{ ...RULE, silenced_until: '2020-01-01T00:00:00Z' }]
    });
    expect(screen.queryByText('silenced')).toBeNull();
  });

  it('lead to the traces that they watch', async () => {
    const { stage } = await shown(
      { rules: [{ ...RULE, state: 'alert' }] },
      'support-errors'
    );
    click('Traces');
    expect(stage.go).toHaveBeenCalledWith(
      'traces',
      'prompt:support status:error'
    );
    click('Acknowledge');
    expect(stage.host.insertCell).toHaveBeenCalledWith(
      '%monitor alerts ack support-errors'
    );
  });

  it('lead to no traces where they watch something else', async () => {
    await shown({ rules: [{ ...RULE, traces: '' }] }, 'support-errors');
    expect(screen.queryByRole('button', { name: 'Traces' })).toBeNull();
  });
});

describe('Alarms', () => {
  const event = (at: string, to: string) => ({
    at,
    rule: RULE.name,
    from: 'ok',
    to,
    words: `said at ${at}`
  });

  it('stand with the newest first', async () => {
    await shown({
      events: [
        event('2026-11-01T00:00:00Z', 'alert'),
        event('2026-11-03T00:00:00Z', 'ok'),
        event('2026-11-02T00:00:00Z', 'warning')
      ]
    });
    const list = screen.getByRole('list', { name: 'Alarms' });
    const told = within(list)
      .getAllByRole('listitem')
      .map(item => item.textContent?.match(/said at 2026-11-(\d\d)/)?.[1]);
    expect(told).toEqual(['03', '02', '01']);
  });

  it('lead to the traces of the day before them', async () => {
    const at = '2026-11-02T12:00:00Z';
    const { stage } = await shown({
      rules: [RULE],
      events: [event(at, 'alert')]
    });
    click('Traces of the day before it');
    expect(stage.go).toHaveBeenCalledWith(
      'traces',
      'prompt:support status:error since:2026-11-01T12:00:00.000Z until:2026-11-02T12:00:00.000Z'
    );
  });

  it('lead nowhere where the rule is gone or the time is none', () => {
    expect(
      tracesBefore(event('2026-11-02T12:00:00Z', 'alert'), undefined)
    ).toBe('');
    expect(tracesBefore(event('never', 'alert'), RULE)).toBe('');
  });
});

describe('Traffic', () => {
  const quiet: ITraffic = {
    ...BUCKET,
    at: '2026-11-28T11:00:00+00:00',
    calls: 0,
    errors: 0,
    latency_p50_s: null,
    latency_p95_s: null,
    cost: null
  };
  const later = { ...BUCKET, at: '2026-11-28T12:00:00+00:00', calls: 9 };

  it('shows calls, errors and latency over time', async () => {
    await shown({ timeline: [BUCKET, quiet, later] });
    const calls = screen.getByRole('slider', { name: 'Calls and errors' });
    expect(calls.getAttribute('aria-valuetext')).toMatch(
      /calls: 9; errors: 2$/
    );
    const latency = screen.getByRole('slider', { name: /^Latency/ });
    expect(latency.getAttribute('aria-valuetext')).toMatch(
      /p50: 400 ms; p95: 1.2 s$/
    );
  });

  it('leaves a gap in the latency where nothing was called', async () => {
    const { container } = await shown({
      timeline: [
        BUCKET,
        { ...BUCKET, at: '2026-11-28T10:30:00+00:00' },
        quiet,
        later
      ]
    });
    const plots = container.querySelectorAll('.jp-LLMOps-plot');
    const [median] = plots[1].querySelectorAll('.jp-LLMOps-stroke');
    expect(median.getAttribute('d')?.match(/L/g)).toHaveLength(1);
    const [calls] = plots[0].querySelectorAll('.jp-LLMOps-stroke');
    expect(calls.getAttribute('d')?.match(/L/g)).toHaveLength(3);
  });

  it('leads to the traces with errors', async () => {
    const { stage } = await shown({ timeline: [BUCKET, later] });
    click('Traces with errors (4)');
    expect(stage.go).toHaveBeenCalledWith('traces', 'status:error since:7d');
  });

  it('shows tokens and cost when asked', async () => {
    await shown({ timeline: [BUCKET, later] });
    expect(screen.queryByRole('slider', { name: 'Tokens' })).toBeNull();
    click('Tokens and cost');
    expect(screen.getByRole('slider', { name: 'Tokens' })).toBeVisible();
    expect(
      screen.getByRole('slider', { name: 'Cost in dollars' })
    ).toBeVisible();
  });
});

describe('Drift', () => {
  const REPORT = {
    id: '7',
    at: '2026-11-28T10:00:00+00:00',
    baseline: 'support@2',
    drifted: true,
    words: 'Drift in 200 rows against support@2',
    features: [
      { name: 'input', p_value: 0.00051, drifted: true },
      { name: 'latency s', p_value: 0.4, drifted: false },
      { name: 'model', p_value: null, drifted: false }
    ]
  };

  it('shows what changed, and the other tests when asked', async () => {
    const { stage } = await shown({ drift: [REPORT] });
    click('Drift');
    const rows = () => screen.getAllByRole('row').map(row => row.textContent);
    expect(screen.getByText('drift')).toHaveTextContent('✗ drift');
    expect(rows().slice(1)).toEqual(['input0.00051yes']);
    click('2 more tests');
    expect(rows().slice(1)).toEqual([
      'input0.00051yes',
      'latency s0.4',
      'model–'
    ]);
    click('Check again');
    expect(stage.host.insertCell).toHaveBeenCalledWith(
      '%monitor drift support@2'
    );
  });

  it('says that no drift was found', async () => {
    await shown({ drift: [{ ...REPORT, drifted: false, features: [] }] });
    click('Drift');
    expect(screen.getByText('no drift found')).toBeVisible();
  });
});

describe('Costs', () => {
  const cost = (name: string, dollars: number | null, source = 'measured') => ({
    name,
    calls: 1000,
    input_tokens: 20_000,
    output_tokens: 3000,
    cost: dollars,
    source: source as 'measured' | 'estimated' | 'assumed'
  });

  it('show the dearest first, each figure with what it stands on', async () => {
    await shown({
      costs: [
        cost('(scratch)', null),
        cost('cheap', 0.002, 'assumed'),
        cost('dear', 12.5),
        cost('middle', 3, 'estimated')
      ]
    });
    const rows = screen.getAllByRole('row').map(row => row.textContent);
    expect(rows.slice(1)).toEqual([
      'dear1,00020,0003,000$12.50measured',
      'middle1,00020,0003,000$3.00≈ estimated',
      'cheap1,00020,0003,000$0.0020? assumed',
      '(scratch)1,00020,0003,000–measured'
    ]);
    expect(
      screen.getByText(/^Nothing says what 1,000 calls cost/)
    ).toBeVisible();
  });

  it('lead to the traces of a prompt, and of nothing else', async () => {
    const { stage } = await shown({
      costs: [cost('support', 1), cost('(scratch)', 1)]
    });
    expect(screen.queryByRole('button', { name: '(scratch)' })).toBeNull();
    click('support');
    expect(stage.go).toHaveBeenCalledWith('traces', 'prompt:support since:7d');
  });

  it('insert a cell that shows all figures', async () => {
    const { stage } = await shown({ costs: [cost('support', 1)] });
    click('All figures');
    expect(stage.host.insertCell).toHaveBeenCalledWith(
      '%monitor cost --since 7d'
    );
  });
});

describe('Budgets', () => {
  it('show what was used as bars with text', async () => {
    await shown({
      budgets: [
        { name: 'a', unit: 'output_tokens', used: 50, limit: 100, per: 'day' },
        { name: 'b', unit: 'dollars', used: 0.9, limit: 1, per: '24h' },
        { name: 'c', unit: 'calls', used: 12, limit: 10, per: 'total' },
        { name: 'd', unit: 'seconds', used: 0, limit: 30, per: 'call' },
        { name: 'e', unit: 'calls', used: 0, limit: 0, per: 'day' }
      ]
    });
    const bars = screen
      .getAllByRole('meter')
      .map(bar => bar.getAttribute('aria-valuetext'));
    expect(bars).toEqual([
      '50 of 100 output tokens a day (50 %)',
      '$0.90 of $1.00 in any 24 hours (90 %)',
      '12 of 10 calls in total (120 %)',
      '0 of 0 calls a day (100 %)'
    ]);
    expect(screen.getByText('at most 30 s a call')).toBeVisible();
    const items = within(
      screen.getByRole('list', { name: 'Budgets' })
    ).getAllByRole('listitem');
    expect(items[0]).toHaveTextContent('✓ ok');
    expect(items[1]).toHaveTextContent('! warning');
    expect(items[2]).toHaveTextContent('used up');
    expect(items[4]).toHaveTextContent('used up');
  });
});
