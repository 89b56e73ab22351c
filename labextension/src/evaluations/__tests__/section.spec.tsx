import '@testing-library/jest-dom';

import {
  act,
  cleanup,
  fireEvent,
  render,
  screen,
  within
} from '@testing-library/react';
import { axe } from 'jest-axe';
import * as React from 'react';

import { Client, IPage, IRunSummary } from '../../api';
import {
  expectInert,
  failOnComplaints,
  HOSTILE,
  hosting,
  trans,
  watching
} from '../../prompts/__tests__/stand_ins';
import { ApiError } from '../../request';
import Section from '../section';
import { changed, comparison, run } from './runs_fake';

failOnComplaints();
afterEach(cleanup);

async function show(client: Partial<Client> = {}, item = '') {
  const asked = {
    evaluations: jest.fn(async (): Promise<IPage<IRunSummary>> => ({
      items: [run('3'), run('2'), run('1', { data: 'old@1' })],
      next: null
    })),
    compare: jest.fn(async () => comparison()),
    ...client
  };
  const { watched, tell } = watching(asked as unknown as Client);
  const host = hosting();
  const went: string[] = [];
  function Panel() {
    const [place, setPlace] = React.useState(item);
    return (
      <Section
        watched={watched}
        host={host}
        trans={trans}
        item={place}
        go={(section, wanted = '') => {
          went.push(`${section} ${wanted}`);
          setPlace(wanted);
        }}
      />
    );
  }
  const found = render(<Panel />);
  await act(async () => {});
  return { ...found, asked, host, went, tell };
}

async function click(name: string | RegExp) {
  await act(async () => {
    fireEvent.click(screen.getByRole('button', { name }));
  });
}

async function pick(name: string, value: string) {
  await act(async () => {
    fireEvent.change(screen.getByRole('combobox', { name }), {
      target: { value }
    });
  });
}

const items = () =>
  within(screen.getByRole('list', { name: 'Runs, newest first' })).getAllByRole(
    'listitem'
  );

describe('the runs', () => {
  it('are listed newest first with their metrics and intervals', async () => {
    await show();
    expect(items()).toHaveLength(3);
    expect(items()[0]).toHaveTextContent('3support@3');
    expect(items()[0]).toHaveTextContent('tickets@2200 rows');
    expect(items()[0]).toHaveTextContent('exact84.0 %79.0 to 88.0 %');
    expect(items()[0]).toHaveTextContent('latency1.50 sno interval');
    expect(items()[0].querySelectorAll('svg')).toHaveLength(2);
  });

  it('that were broken off say so', async () => {
    await show({
      evaluations: async () => ({
        items: [run('1', { finished: false })],
        next: null
      })
    });
    expect(screen.getByText('broken off')).toBeInTheDocument();
  });

  it('have the two newest on the same data chosen, and others can be', async () => {
    const { went } = await show();
    expect(screen.getByRole('radio', { name: 'Run 2 as A' })).toBeChecked();
    expect(screen.getByRole('radio', { name: 'Run 3 as B' })).toBeChecked();
    fireEvent.click(screen.getByRole('radio', { name: 'Run 1 as A' }));
    expect(screen.getByRole('radio', { name: 'Run 2 as A' })).not.toBeChecked();
    await click('Compare A with B');
    expect(went).toEqual(['evaluations 1..3']);
    expect(
      screen.getByRole('heading', { name: 'Run 3 against run 1' })
    ).toHaveFocus();
    await click('‹ All runs');
    expect(
      screen.getByRole('button', { name: 'Compare A with B' })
    ).toHaveFocus();
    expect(screen.getByRole('radio', { name: 'Run 1 as A' })).toBeChecked();
  });

  it('take no focus when they appear', async () => {
    await show();
    expect(document.body).toHaveFocus();
    cleanup();
    await show({}, '2..3');
    expect(document.body).toHaveFocus();
  });

  it('cannot be compared with themselves, nor without a metric in common; the reason is told', async () => {
    const { exact, latency } = run('1').metrics;
    await show({
      evaluations: async () => ({
        items: [
          run('2', { metrics: { exact } }),
          run('1', { metrics: { latency } })
        ],
        next: null
      })
    });
    const compare = screen.getByRole('button', { name: 'Compare A with B' });
    expect(compare).toBeDisabled();
    expect(
      screen.getByText('Choose a run as A and one as B, on the same data.')
    ).toBeInTheDocument();
    fireEvent.click(screen.getByRole('radio', { name: 'Run 2 as A' }));
    expect(
      screen.getByText('Choose two runs that are not the same.')
    ).toBeInTheDocument();
    fireEvent.click(screen.getByRole('radio', { name: 'Run 1 as A' }));
    expect(
      screen.getByText(
        'They have no metric in common. Run 1 has: latency. Run 2 has: exact.'
      )
    ).toBeInTheDocument();
    expect(compare).toBeDisabled();
  });

  it('show four metrics of many, and all when asked', async () => {
    const one = run('1').metrics.exact;
    const metrics = Object.fromEntries(
      Array.from({ length: 9 }, (_, i) => [`m${i}`, one])
    );
    await show({
      evaluations: async () => ({ items: [run('1', { metrics })], next: null })
    });
    expect(items()[0].querySelectorAll('svg')).toHaveLength(4);
    await click('5 more metrics');
    expect(items()[0].querySelectorAll('svg')).toHaveLength(9);
  });

  it('are fetched page by page, and a page holds 25', async () => {
    const all = Array.from({ length: 60 }, (_, i) => run(String(60 - i)));
    const evaluations = jest.fn(async (cursor?: string) =>
      cursor === undefined
        ? { items: all.slice(0, 30), next: 'c30' }
        : { items: all.slice(30), next: null }
    );
    await show({ evaluations });
    const pages = () =>
      screen.getByRole('navigation', { name: 'Pages of runs' });
    expect(pages()).toHaveTextContent('1 to 25 of 30+');
    await click('Next page');
    expect(pages()).toHaveTextContent('26 to 30 of 30+');
    expect(evaluations).toHaveBeenCalledTimes(1);
    await click('Next page');
    expect(evaluations).toHaveBeenLastCalledWith('c30');
    expect(pages()).toHaveTextContent('51 to 60 of 60');
    expect(screen.getByRole('button', { name: 'Next page' })).toBeDisabled();
  });

  it('say why older ones did not come, and keep those that are there', async () => {
    await show({
      evaluations: async (cursor?: string) => {
        if (cursor) {
          throw new ApiError(500, 'StoreError', 'The file is gone.');
        }
        return { items: [run('1')], next: 'c' };
      }
    });
    await click('Next page');
    expect(screen.getByRole('alert')).toHaveTextContent('The file is gone.');
    expect(items()).toHaveLength(1);
  });

  it('that are new appear, and one that slid off the newest page stays', async () => {
    let page = [run('2'), run('1')];
    const { tell } = await show({
      evaluations: async () => ({ items: page, next: null })
    });
    page = [run('3'), run('2')];
    await act(async () => tell('evaluations'));
    expect(
      items().map(item => item.querySelector('strong')?.textContent)
    ).toEqual(['support@3', 'support@2', 'support@1']);
  });

  it('that there are none of say what to type', async () => {
    await show({ evaluations: async () => ({ items: [], next: null }) });
    expect(
      screen.getByText('%evaluate run PROMPT --data DATA --metric METRIC')
    ).toBeInTheDocument();
  });

  it('wait, and say what went wrong with a way to try again', async () => {
    await show({ evaluations: () => new Promise(() => undefined) });
    expect(screen.getByText('Loading…')).toBeInTheDocument();
    cleanup();
    let fails = true;
    await show({
      evaluations: async () => {
        if (fails) {
          throw new ApiError(0, 'Unreachable', 'x');
        }
        return { items: [run('1')], next: null };
      }
    });
    fails = false;
    await click('Try again');
    expect(items()).toHaveLength(1);
  });
});

describe('a comparison', () => {
  it('begins with what may be said, then the plot, the figures, the notes and the rows', async () => {
    const { asked, container } = await show({}, '2..3');
    expect(asked.compare).toHaveBeenCalledWith('2', '3', 'exact', undefined);
    const order = [
      screen.getByText(/is better than support@1 on exact by 4.0 points/),
      screen.getByRole('img'),
      screen.getByText('95 % interval'),
      screen.getByRole('list', { name: 'Notes' }),
      screen.getByRole('region', { name: 'Changed rows' })
    ];
    for (let i = 1; i < order.length; i += 1) {
      expect(
        order[i - 1].compareDocumentPosition(order[i]) &
          Node.DOCUMENT_POSITION_FOLLOWING
      ).toBeTruthy();
    }
    expect(screen.getByText('B is better')).toBeInTheDocument();
    expect(container.querySelector('.jp-LLMOps-facts')).toHaveTextContent(
      [
        'A80.0 % · support@1',
        'B84.0 % · support@2',
        'Difference+4.0 points',
        '95 % interval+1.0 to +7.0 points',
        'p0.012',
        'Rows200',
        'Look1'
      ].join('')
    );
    expect(screen.getByRole('img')).toHaveTextContent(
      'B − A in points (higher is better)'
    );
  });

  it.each([
    ['worse', 'B is worse'],
    ['not worse', 'B is not worse'],
    ['undecided', 'not yet'],
    ['constructor', 'constructor']
  ])('that is %s is called %p', async (verdict, label) => {
    await show({ compare: async () => comparison({ verdict }) }, '2..3');
    expect(screen.getByText(label)).toBeInTheDocument();
  });

  it('of which nothing is known yet shows no number that is none', async () => {
    const { container } = await show(
      {
        compare: async () =>
          comparison({
            verdict: 'undecided',
            drawn: 'mean',
            a_value: null,
            b_value: null,
            difference: { value: 0, low: null, high: null, n: 1 },
            p_value: null,
            changed: [],
            notes: []
          })
      },
      '2..3'
    );
    expect(container).toHaveTextContent('no interval');
    expect(container.innerHTML).not.toMatch(/NaN|Infinity|undefined|null/);
    expect(
      screen.getByText('Every row has the same score in both runs.')
    ).toBeInTheDocument();
  });

  it('of runs on different data says so in the words of the server', async () => {
    await show(
      {
        compare: () =>
          Promise.reject(
            new ApiError(400, 'DataError', 'They are on different rows.')
          )
      },
      '1..3'
    );
    expect(screen.getByRole('alert')).toHaveTextContent(
      'They are on different rows.'
    );
    expect(screen.getByRole('combobox', { name: 'A' })).toBeInTheDocument();
  });

  it('is of the metric, the runs and the order that one chooses', async () => {
    const { asked, went } = await show({}, '2..3');
    await pick('Metric', 'latency');
    expect(asked.compare).toHaveBeenLastCalledWith(
      '2',
      '3',
      'latency',
      undefined
    );
    await pick('A', '1');
    await click('Swap A and B');
    expect(went).toEqual([
      'evaluations 2..3:latency',
      'evaluations 1..3:latency',
      'evaluations 3..1:latency'
    ]);
    await click('‹ All runs');
    expect(items()).toHaveLength(3);
  });

  it('by a metric that one of them lacks takes another, and says so', async () => {
    const { asked } = await show({}, '2..3:bleu');
    expect(asked.compare).toHaveBeenCalledWith('2', '3', 'exact', undefined);
    expect(
      screen.getByText('The two runs do not both have bleu; this is exact.')
    ).toBeInTheDocument();
  });

  it('of runs without a metric in common says which they have, and asks nothing', async () => {
    const { exact, latency } = run('1').metrics;
    const { asked } = await show(
      {
        evaluations: async () => ({
          items: [
            run('2', { metrics: { exact } }),
            run('1', { metrics: { latency } })
          ],
          next: null
        })
      },
      '1..2'
    );
    expect(asked.compare).not.toHaveBeenCalled();
    expect(
      screen.getByText(/They have no metric in common/)
    ).toBeInTheDocument();
  });

  it('of runs that are older than the list leaves the metric to the server', async () => {
    const { asked } = await show({}, '90..91:exact');
    expect(asked.compare).toHaveBeenCalledWith('90', '91', 'exact', undefined);
    cleanup();
    const { asked: other } = await show({}, '90..91');
    expect(other.compare).not.toHaveBeenCalled();
    expect(
      screen.getByText('Choose two runs from the list.')
    ).toBeInTheDocument();
  });

  it('is sliced by a column, and the field keeps the focus', async () => {
    const compare = jest.fn(
      async (_a: string, _b: string, _m: string, slices?: string) =>
        comparison({
          slices: slices
            ? [
                {
                  name: 'returns',
                  difference: { value: -0.02, low: null, high: null, n: 4 }
                }
              ]
            : []
        })
    );
    await show({ compare }, '2..3');
    const field = screen.getByRole('combobox', { name: 'Column to slice by' });
    const list = document.getElementById(field.getAttribute('list') ?? '');
    expect(
      [...(list?.querySelectorAll('option') ?? [])].map(o => o.value)
    ).toEqual(['question', 'topic']);
    field.focus();
    fireEvent.change(field, { target: { value: ' topic ' } });
    await act(async () => {
      fireEvent.submit(field);
    });
    expect(compare).toHaveBeenLastCalledWith('2', '3', 'exact', 'topic');
    expect(screen.getByRole('img')).toHaveTextContent('topic=returns');
    expect(screen.getByRole('img')).toHaveTextContent(
      '-2.0 points (no interval)'
    );
    expect(field).toHaveFocus();
    await click('No slices');
    expect(screen.getByRole('img')).not.toHaveTextContent('topic=returns');
  });

  it('by a column that is not there says so, and the way back is at hand', async () => {
    const compare = async (
      _a: string,
      _b: string,
      _m: string,
      slices?: string
    ) => {
      if (slices) {
        throw new ApiError(400, 'DataError', "There is no column 'tpic'.");
      }
      return comparison();
    };
    await show({ compare }, '2..3');
    const field = screen.getByRole('combobox', { name: 'Column to slice by' });
    fireEvent.change(field, { target: { value: 'tpic' } });
    await act(async () => {
      fireEvent.submit(field);
    });
    expect(screen.getByRole('alert')).toHaveTextContent(
      "There is no column 'tpic'."
    );
    await click('No slices');
    expect(screen.getByText('B is better')).toBeInTheDocument();
  });

  it('has no fault that axe finds', async () => {
    const { container } = await show({}, '2..3');
    await click(/r-2/);
    expect((await axe(container)).violations).toEqual([]);
    cleanup();
    expect((await axe((await show()).container)).violations).toEqual([]);
  });
});

describe('changed rows', () => {
  const table = () =>
    screen.getByRole('table', {
      name: 'Rows on which A (support@1) and B (support@2) differ'
    });

  it('say which side is better in words, with both scores', async () => {
    await show({}, '2..3');
    const rows = within(table()).getAllByRole('row');
    expect(rows[1]).toHaveTextContent('r-1A100.0 % → 0.0 %');
    expect(rows[3]).toHaveTextContent('r-2B0.0 % → 100.0 %');
  });

  it('open to input, expected answer and both answers, with marks and traces', async () => {
    const { host, container } = await show({}, '2..3');
    const button = screen.getByRole('button', { name: /r-2/ });
    expect(button).toHaveAttribute('aria-expanded', 'false');
    fireEvent.click(button);
    expect(button).toHaveAttribute('aria-expanded', 'true');
    const texts = container.querySelector('.jp-LLMOps-changed-texts');
    expect(texts).toHaveTextContent(
      'InputWhere is my order?ExpectedorderAtraceCategory: invoiceBtraceCategory: order'
    );
    expect(
      [...(texts?.querySelectorAll('mark') ?? [])].map(m => m.textContent)
    ).toEqual(['invoice', 'order']);
    fireEvent.click(screen.getByRole('button', { name: 'Trace of B' }));
    expect(host.openTrace).toHaveBeenCalledWith('trace-b');
  });

  it('that are only some of all say so', async () => {
    await show(
      { compare: async () => comparison({ n_changed: 1340 }) },
      '2..3'
    );
    expect(
      screen.getByRole('heading', { name: '2 of 1,340 changed rows' })
    ).toBeInTheDocument();
  });

  it('are filtered by the side that is better', async () => {
    await show({}, '2..3');
    await pick('Which rows', 'a');
    expect(within(table()).getByText(/r-1/)).toBeInTheDocument();
    expect(within(table()).queryByText(/r-2/)).toBeNull();
    expect(
      screen.getByRole('option', { name: 'A is better (1)' })
    ).toBeInTheDocument();
  });

  it('of 10,000 have 25 in the page', async () => {
    const rows = Array.from({ length: 10_000 }, (_, i) => changed(`r${i}`));
    const { container } = await show(
      { compare: async () => comparison({ changed: rows }) },
      '2..3'
    );
    expect(table().querySelectorAll('tr[data-better]')).toHaveLength(25);
    expect(container.querySelectorAll('*').length).toBeLessThan(800);
    await click('Next page');
    expect(within(table()).getByText('r25')).toBeInTheDocument();
    expect(
      screen.getByRole('navigation', { name: 'Pages of changed rows' })
    ).toHaveTextContent('26 to 50 of 10,000');
  });

  it('and all else that is hostile are shown as they are written', async () => {
    const hostile = changed(HOSTILE, {
      input: HOSTILE,
      expected: HOSTILE,
      a: HOSTILE,
      b: `${HOSTILE} more`
    });
    const metric = run('1').metrics.exact;
    const { container } = await show(
      {
        evaluations: async () => ({
          items: ['2', '1'].map(id =>
            run(id, {
              label: HOSTILE,
              data: HOSTILE,
              kind: HOSTILE,
              metrics: {
                [HOSTILE]: { ...metric, unit: HOSTILE, drawn: 'mean' }
              }
            })
          ),
          next: null
        }),
        compare: async () =>
          comparison({
            a: HOSTILE,
            b: HOSTILE,
            metric: HOSTILE,
            words: HOSTILE,
            verdict: HOSTILE,
            unit: HOSTILE,
            drawn: 'mean',
            notes: [HOSTILE],
            columns: [HOSTILE],
            slices: [
              {
                name: HOSTILE,
                difference: { value: 1, low: 0, high: 2, n: 9 }
              }
            ],
            changed: [hostile]
          })
      },
      '1..2'
    );
    fireEvent.click(screen.getByRole('button', { name: /^▸|img src/ }));
    expectInert(container);
    await click('‹ All runs');
    expectInert(container);
  });
});
