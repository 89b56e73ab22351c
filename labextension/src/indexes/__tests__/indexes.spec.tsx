import '@testing-library/jest-dom';
import { act, fireEvent, render, screen } from '@testing-library/react';
import * as React from 'react';

import { Client, IHits, IIndex } from '../../api';
import { ApiError } from '../../request';
import {
  complaintsFail,
  dangerous,
  HOSTILE,
  Stage,
  violations
} from '../../shared/__tests__/stage';
import { PAUSE_MS } from '../search';
import Section from '../section';

complaintsFail();

const INDEX: IIndex = {
  name: 'docs',
  documents: 1234,
  passages: 5678,
  embedder: 'minilm',
  size: 3 * 1024 ** 2,
  changed_at: '2026-11-28T10:00:00+00:00',
  health: [
    { state: 'ok', words: 'no passage is longer than the window' },
    { state: 'warning', words: 'stale: docs/rag.md' }
  ]
};

const hitsOf = (text: string, count = 1): IHits => ({
  hits: Array.from({ length: count }, (_, i) => ({
    text,
    source: `docs/${i}.md`,
    locator: 'lines 3–9',
    score: 0.5,
    words: 7.25,
    vectors: null,
    marked: [[0, 4]] as [number, number][]
  })),
  legs: ['words'],
  note: 'Vectors take part in the kernel only.'
});

/** A search whose answers a test gives one by one. */
function searching() {
  const asked: {
    q: string;
    k: number;
    signal: AbortSignal;
    answer: (hits: IHits) => Promise<void>;
    fail: (fault: unknown) => Promise<void>;
  }[] = [];
  const search = jest.fn(
    (_: string, q: string, k = 10, signal?: AbortSignal) =>
      new Promise<IHits>((resolve, reject) =>
        asked.push({
          q,
          k,
          signal: signal as AbortSignal,
          answer: hits => act(async () => resolve(hits)),
          fail: fault => act(async () => reject(fault))
        })
      )
  );
  return { asked, search };
}

async function shown(indexes: IIndex[], search?: Client['search'], item = '') {
  const stage = new Stage({
    indexes: async () => ({ items: indexes, next: null }),
    search
  } as Partial<Client>);
  const made = render(<Section {...stage.props} item={item} />);
  await act(async () => undefined);
  return { stage, ...made };
}

function type(text: string): void {
  fireEvent.change(screen.getByRole('searchbox'), { target: { value: text } });
}

async function pause(ms = PAUSE_MS): Promise<void> {
  await act(async () => {
    jest.advanceTimersByTime(ms);
  });
}

describe('Indexes', () => {
  it('says how to begin where there is none', async () => {
    await shown([]);
    expect(screen.getByText('%rag add docs docs/')).toBeVisible();
  });

  it('opens the only one, with its facts and its health in words', async () => {
    await shown([INDEX]);
    const facts = screen
      .getAllByRole('term')
      .map(term => `${term.textContent}: ${term.nextSibling?.textContent}`);
    expect(facts.slice(0, 4)).toEqual([
      'Documents: 1,234',
      'Passages: 5,678',
      'Embedder: minilm',
      'Size: 3 MB'
    ]);
    const health = screen.getByRole('list', { name: 'Health' });
    expect(health.children[1]).toHaveTextContent('! warningstale: docs/rag.md');
    expect(screen.getByRole('button', { name: /^docs/ })).toHaveTextContent(
      '! warning'
    );
  });

  it('says that an index without an embedder finds by words only', async () => {
    await shown([{ ...INDEX, embedder: '' }]);
    expect(screen.getByText('none: found by words only')).toBeVisible();
  });

  it('opens the one that was asked for among several', async () => {
    const other = { ...INDEX, name: 'other' };
    await shown([INDEX, other], undefined, 'other');
    expect(
      screen.getByRole('searchbox', { name: 'Search other' })
    ).toBeVisible();
    expect(screen.queryByRole('searchbox', { name: 'Search docs' })).toBeNull();
  });

  it('inserts cells that go on from there', async () => {
    const { stage } = await shown([INDEX]);
    for (const name of ['Status', 'Documents', 'Search in a panel']) {
      fireEvent.click(screen.getByRole('button', { name }));
    }
    expect(stage.host.insertCell.mock.calls).toEqual([
      ['%rag status docs'],
      ['%rag documents docs'],
      ['%rag panel docs']
    ]);
  });

  it('shows the fault in the words of the server', async () => {
    const stage = new Stage({
      indexes: jest
        .fn()
        .mockRejectedValue(new ApiError(503, 'StoreError', 'It is locked.'))
    });
    render(<Section {...stage.props} />);
    expect(await screen.findByText('It is locked.')).toBeVisible();
  });

  it('makes few elements of a hundred thousand indexes', async () => {
    const many = Array.from({ length: 100_000 }, (_, i) => ({
      ...INDEX,
      name: `i${i}`
    }));
    const { container } = await shown(many);
    expect(container.querySelectorAll('*').length).toBeLessThan(500);
  });
});

describe('Search', () => {
  beforeEach(() => {
    jest.useFakeTimers();
  });
  afterEach(() => {
    jest.useRealTimers();
  });

  it('waits until the typing pauses', async () => {
    const { asked, search } = searching();
    await shown([INDEX], search);
    type('m');
    await pause(PAUSE_MS - 1);
    type('mo');
    await pause(PAUSE_MS - 1);
    expect(asked).toEqual([]);
    type('model');
    await pause();
    expect(asked.map(one => one.q)).toEqual(['model']);
  });

  it('aborts an outdated question and shows none of its answer', async () => {
    const { asked, search } = searching();
    await shown([INDEX], search);
    type('first');
    await pause();
    type('second');
    await pause();
    expect(asked.map(one => [one.q, one.signal.aborted])).toEqual([
      ['first', true],
      ['second', false]
    ]);
    await asked[1].answer(hitsOf('new passage'));
    await asked[0].answer(hitsOf('old passage'));
    expect(screen.getByRole('article')).toHaveTextContent('new passage');
  });

  it('says nothing of a question that was aborted', async () => {
    const { asked, search } = searching();
    await shown([INDEX], search);
    type('first');
    await pause();
    type('second');
    await asked[0].fail(new DOMException('aborted', 'AbortError'));
    await pause();
    await asked[1].answer(hitsOf('new passage'));
    expect(screen.queryByRole('alert')).toBeNull();
  });

  it('asks nothing and shows nothing for an empty field', async () => {
    const { asked, search } = searching();
    await shown([INDEX], search);
    type('model');
    await pause();
    await asked[0].answer(hitsOf('some passage'));
    fireEvent.keyDown(screen.getByRole('searchbox'), { key: 'Escape' });
    type('   ');
    await pause();
    expect(asked).toHaveLength(1);
    expect(screen.queryByRole('article')).toBeNull();
  });

  it('aborts what is under way when the index is closed', async () => {
    const { asked, search } = searching();
    const { unmount } = await shown([INDEX], search);
    type('model');
    await pause();
    unmount();
    expect(asked[0].signal.aborted).toBe(true);
  });

  it('marks the words, says where they stand and what each leg said', async () => {
    const { asked, search } = searching();
    const { container } = await shown([INDEX], search);
    type('word');
    await pause();
    expect(screen.getByText('Searching…')).toBeVisible();
    await asked[0].answer(hitsOf('word in a passage'));
    expect(container.querySelector('mark')).toHaveTextContent(/^word$/);
    const hit = screen.getByRole('article');
    expect(hit).toHaveTextContent('docs/0.md');
    expect(hit).toHaveTextContent('lines 3–9');
    expect(hit).toHaveTextContent('score 0.5');
    expect(hit).toHaveTextContent('words (BM25) 7.25');
    expect(hit).toHaveTextContent('vectors (cosine) –');
    expect(screen.getByText(/Searched by: words\./)).toHaveTextContent(
      'Vectors take part in the kernel only.'
    );
    expect(screen.getByText('1 passage')).toBeVisible();
  });

  it('says when nothing was found', async () => {
    const { asked, search } = searching();
    await shown([INDEX], search);
    type('nothing');
    await pause();
    await asked[0].answer({ hits: [], legs: ['words'], note: '' });
    expect(screen.getByText('No passage was found.')).toBeVisible();
  });

  it('shows more passages when asked', async () => {
    const { asked, search } = searching();
    await shown([INDEX], search);
    type('model');
    await pause();
    await asked[0].answer(hitsOf('some passage', 10));
    fireEvent.click(screen.getByRole('button', { name: 'More passages' }));
    await pause();
    expect(asked[1].k).toBe(20);
    await asked[1].answer(hitsOf('some passage', 12));
    expect(screen.getAllByRole('article')).toHaveLength(12);
    expect(screen.queryByRole('button', { name: 'More passages' })).toBeNull();
  });

  it('shows a fault and tries again', async () => {
    const { asked, search } = searching();
    await shown([INDEX], search);
    type('model');
    await pause();
    await asked[0].fail(
      new ApiError(500, 'IndexError', 'The index is broken.')
    );
    expect(screen.getByRole('alert')).toHaveTextContent('The index is broken.');
    fireEvent.click(screen.getByRole('button', { name: 'Try again' }));
    await pause();
    await asked[1].answer(hitsOf('some passage'));
    expect(screen.queryByRole('alert')).toBeNull();
  });

  it('inserts the question as a cell that asks the documents', async () => {
    const { search } = searching();
    const { stage } = await shown([INDEX], search);
    type('How is a model added?');
    fireEvent.click(screen.getByRole('button', { name: 'Ask this' }));
    expect(stage.host.insertCell).toHaveBeenCalledWith(
      '%%rag ask docs\nHow is a model added?'
    );
  });

  it('shows the whole of a long passage when asked', async () => {
    const { asked, search } = searching();
    await shown([INDEX], search);
    type('word');
    await pause();
    await asked[0].answer(hitsOf(`word ${'more '.repeat(400)}end`));
    expect(screen.getByRole('article')).not.toHaveTextContent('end');
    fireEvent.click(
      screen.getByRole('button', { name: 'Show the whole passage' })
    );
    expect(screen.getByRole('article')).toHaveTextContent('end');
  });

  it('shows documents as text only, and links only to the web', async () => {
    const { asked, search } = searching();
    const { container } = await shown(
      [
        {
          ...INDEX,
          embedder: HOSTILE,
          health: [{ state: 'alert', words: HOSTILE }]
        }
      ],
      search
    );
    type('word');
    await pause();
    const sources = [
      HOSTILE,
      'javascript:alert(1)',
      'https://example.org/a"><img src=x>',
      'https://example.org/guide'
    ];
    const [hit] = hitsOf(HOSTILE).hits;
    await asked[0].answer({
      hits: sources.map(source => ({ ...hit, source, locator: HOSTILE })),
      legs: ['words', HOSTILE as 'words'],
      note: HOSTILE
    });
    expect(dangerous(container)).toEqual([]);
    expect(container.textContent).not.toContain('\u001b');
    for (const link of screen.getAllByRole('link')) {
      expect(link).toHaveAttribute('rel', 'noopener noreferrer');
      expect(link.textContent).toBe(link.getAttribute('href'));
    }
  });
});

describe('accessibility', () => {
  it('holds with hits shown', async () => {
    const { container } = await shown([INDEX], async () =>
      hitsOf('word in a passage')
    );
    type('word');
    await screen.findByRole('article');
    expect(await violations(container)).toEqual([]);
  });
});
