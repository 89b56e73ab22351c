import '@testing-library/jest-dom';
import { act, fireEvent, render, screen, within } from '@testing-library/react';
import * as React from 'react';

import { Client, IModel, IPage, ITraining } from '../../api';
import { ApiError } from '../../request';
import {
  complaintsFail,
  dangerous,
  HOSTILE,
  Stage,
  violations
} from '../../shared/__tests__/stage';
import Section from '../section';

complaintsFail();

const MODEL: IModel = {
  name: 'smollm2',
  kind: 'gguf',
  architecture: 'llama',
  quantization: 'Q4_1',
  size: 98_362_432,
  context: 8192,
  memory: 210_000_000,
  loaded: false,
  is_default: false,
  missing: false,
  adapters: [],
  tuned: []
};

const RUN: ITraining = {
  id: 'r1',
  name: 'tickets',
  model: 'smollm2',
  status: 'running',
  started_at: '2026-11-28T10:00:00+00:00',
  step: 20,
  steps: 100,
  left_s: 90,
  tokens_per_s: 812,
  train: [
    [10, 3],
    [20, 2]
  ],
  evaluation: [
    [0, 3.5],
    [20, 2.2]
  ],
  samples: [],
  words: 'step 20 of 100 · loss 2.000'
};

const page = <T,>(...items: T[]): IPage<T> => ({ items, next: null });

function stageOf(models: IModel[], runs: ITraining[] = []) {
  const answers = {
    models: jest.fn(async () => page(...models)),
    trainings: jest.fn(async () => page(...runs)),
    training: jest.fn(async (id: string) => {
      const found = runs.find(run => run.id === id);
      if (!found) {
        throw new ApiError(404, 'UnknownNameError', `There is no run ${id}.`);
      }
      return { ...found };
    })
  };
  return { stage: new Stage(answers as Partial<Client>), answers, runs };
}

async function open(name: string): Promise<HTMLElement> {
  const button = await screen.findByRole('button', {
    name: new RegExp(name.replace(/[.*+?^${}()|[\]\\]/g, '\\$&'))
  });
  await act(async () => {
    fireEvent.click(button);
  });
  return button;
}

describe('Models', () => {
  it('says how to begin where there is none', async () => {
    const { stage } = stageOf([]);
    render(<Section {...stage.props} />);
    expect(await screen.findByText('%model list --found')).toBeVisible();
  });

  it('shows the default first and what has lost its file last', async () => {
    const { stage } = stageOf([
      { ...MODEL, name: 'gone', missing: true },
      { ...MODEL, name: 'other' },
      { ...MODEL, name: 'warm', loaded: true },
      { ...MODEL, name: 'first', is_default: true }
    ]);
    render(<Section {...stage.props} />);
    const list = await screen.findByRole('list', { name: 'Models' });
    const names = within(list)
      .getAllByRole('button')
      .map(button => button.textContent);
    expect(names.map(text => text?.match(/\w+/)?.[0])).toEqual([
      'first',
      'warm',
      'other',
      'gone'
    ]);
    expect(names[1]).toContain('✓ loaded');
    expect(names[3]).toContain('✗ file missing');
  });

  it.each([
    [false, 'Memory needed'],
    [true, 'Memory in use']
  ])('shows what a model is and takes (loaded: %s)', async (loaded, memory) => {
    const { stage } = stageOf([{ ...MODEL, loaded }]);
    render(<Section {...stage.props} />);
    await open('smollm2');
    const facts = Object.fromEntries(
      screen
        .getAllByRole('term')
        .map(term => [term.textContent, term.nextSibling?.textContent])
    );
    expect(facts).toEqual({
      Kind: 'gguf',
      Architecture: 'llama',
      Quantization: 'Q4_1',
      Size: '94 MB',
      Context: '8,192 tokens',
      [memory]: '200 MB'
    });
  });

  it('only inserts cells, which a person runs', async () => {
    const { stage } = stageOf([MODEL]);
    render(<Section {...stage.props} />);
    await open('smollm2');
    for (const name of ['Use as default', 'Verify', 'Tune', 'New prompt']) {
      fireEvent.click(screen.getByRole('button', { name }));
    }
    expect(stage.host.insertCell.mock.calls).toEqual([
      ['%model use smollm2'],
      ['%model verify smollm2'],
      ['%model tune smollm2'],
      ['%%prompt -m smollm2\n{{ question }}']
    ]);
  });

  it('offers nothing that an endpoint cannot do', async () => {
    const { stage } = stageOf([
      { ...MODEL, kind: 'endpoint', is_default: true, size: null }
    ]);
    render(<Section {...stage.props} />);
    await open('smollm2');
    for (const name of ['Use as default', 'Verify', 'Tune']) {
      expect(screen.queryByRole('button', { name })).toBeNull();
    }
  });

  it('shows adapters with their aliases, and the run that made one', async () => {
    const { stage } = stageOf(
      [
        {
          ...MODEL,
          adapters: [
            {
              name: 'tickets',
              version: 2,
              aliases: ['production'],
              run: 'r1',
              saved_at: '2026-11-27T10:00:00+00:00'
            }
          ]
        }
      ],
      [{ ...RUN, status: 'finished' }]
    );
    render(
      <div className="jp-LLMOps-section">
        <Section {...stage.props} />
      </div>
    );
    await open('smollm2 llama');
    expect(screen.getByText('tickets@2')).toBeVisible();
    expect(screen.getByText('production')).toBeVisible();
    fireEvent.click(screen.getByRole('button', { name: 'Use' }));
    expect(stage.host.insertCell).toHaveBeenCalledWith(
      '%%prompt -m smollm2 --adapter tickets@2\n{{ question }}'
    );
    const show = screen.getByRole('button', { name: 'Show run' });
    act(() => show.focus());
    fireEvent.click(show);
    expect(screen.getByRole('button', { name: /^tickets/ })).toHaveFocus();
    expect(
      await screen.findByRole('slider', { name: /Loss over steps/ })
    ).toBeVisible();
  });

  it('fetches the run of an adapter that the list is too short for', async () => {
    const adapter = {
      name: 'tickets',
      version: 2,
      aliases: [],
      run: 'r1',
      saved_at: RUN.started_at
    };
    const { stage, answers } = stageOf(
      [{ ...MODEL, adapters: [adapter] }],
      [{ ...RUN, status: 'finished' }]
    );
    answers.trainings.mockResolvedValue(page());
    render(<Section {...stage.props} />);
    await open('smollm2');
    fireEvent.click(screen.getByRole('button', { name: 'Show run' }));
    expect(await screen.findByRole('slider')).toBeVisible();
    expect(answers.training).toHaveBeenCalledWith('r1');
  });

  it('offers no prompt for a model that only embeds', async () => {
    const { stage } = stageOf([{ ...MODEL, kind: 'embedder' }]);
    render(<Section {...stage.props} />);
    await open('smollm2');
    expect(screen.getByRole('button', { name: 'Verify' })).toBeVisible();
    for (const name of ['New prompt', 'Use as default', 'Tune']) {
      expect(screen.queryByRole('button', { name })).toBeNull();
    }
  });

  it('shows what tuning measured as a table and as points', async () => {
    const estimate = (value: number) => ({
      value,
      low: value - 0.5,
      high: value + 0.5,
      n: 1900
    });
    const { stage } = stageOf([
      {
        ...MODEL,
        tuned: [
          {
            copy: 'Q4_1',
            size: 98_362_432,
            tokens_per_s: 61.5,
            perplexity: estimate(21),
            chosen: false
          },
          {
            copy: 'Q4_0',
            size: 91_000_000,
            tokens_per_s: 80,
            perplexity: estimate(21.1),
            chosen: true
          },
          {
            copy: 'BF16',
            size: null,
            tokens_per_s: null,
            perplexity: null,
            chosen: false
          }
        ]
      }
    ]);
    render(<Section {...stage.props} />);
    await open('smollm2');
    const rows = screen.getAllByRole('row').map(row => row.textContent);
    expect(rows[1]).toBe('Q4_194 MB61.521 (20.5 to 21.5)');
    expect(rows[2]).toContain('Q4_0 → chosen');
    expect(rows[3]).toBe('BF16–––');
    expect(screen.getByRole('slider', { name: /Perplexity/ })).toHaveAttribute(
      'aria-valuetext',
      'tokens/s 80; tried: Q4_1 21 (20.5 to 21.5) (at 61.5); chosen: Q4_0 21.1 (20.6 to 21.6)'
    );
  });

  it('shows the fault in the words of the server and tries again', async () => {
    const { stage, answers } = stageOf([MODEL]);
    answers.models.mockRejectedValueOnce(
      new ApiError(500, 'StoreError', 'The store is of a newer version.')
    );
    render(<Section {...stage.props} />);
    expect(
      await screen.findByText('The store is of a newer version.')
    ).toBeVisible();
    fireEvent.click(screen.getByRole('button', { name: 'Try again' }));
    expect(await screen.findByText('smollm2')).toBeVisible();
  });

  it('makes at most thirty of a hundred thousand models at first', async () => {
    const many = Array.from({ length: 100_000 }, (_, i) => ({
      ...MODEL,
      name: `m${i}`
    }));
    const { stage } = stageOf(many);
    const { container } = render(<Section {...stage.props} />);
    await screen.findByText('m0');
    expect(container.querySelectorAll('*').length).toBeLessThan(500);
  });
});

describe('Trainings', () => {
  it('opens a run that goes on, with curve, steps, speed and time left', async () => {
    const { stage } = stageOf([], [RUN]);
    render(<Section {...stage.props} />);
    const curve = await screen.findByRole('slider', {
      name: /Loss over steps/
    });
    expect(curve).toHaveAttribute(
      'aria-valuetext',
      'step 20; training: 2; eval: 2.2'
    );
    expect(
      screen.getByRole('progressbar', { name: 'Progress of tickets' })
    ).toHaveAttribute('aria-valuetext', 'step 20 of 100 · 1 min 30 s left');
    expect(screen.getByText('812 tokens/s')).toBeVisible();
    expect(screen.getByText('▸')).toBeVisible();
  });

  it('grows while the run goes on, and stays open when it ends', async () => {
    const { stage, answers, runs } = stageOf([], [RUN]);
    render(<Section {...stage.props} />);
    await screen.findByRole('slider');
    runs[0] = { ...RUN, step: 30, train: [...RUN.train, [30, 1.5]] };
    await stage.news('models');
    expect(screen.getByRole('slider')).toHaveAttribute(
      'aria-valuetext',
      'step 30; training: 1.5; eval: 2.2 (at 20)'
    );
    runs[0] = { ...runs[0], status: 'finished', step: 100, left_s: null };
    await stage.news('models');
    expect(screen.getByText('finished')).toBeVisible();
    expect(screen.getByRole('slider')).toBeVisible();
    const asked = answers.training.mock.calls.length;
    await stage.news('traces');
    expect(answers.training).toHaveBeenCalledTimes(asked);
  });

  it('does not open again what somebody has closed', async () => {
    const { stage } = stageOf([], [RUN]);
    render(<Section {...stage.props} />);
    await screen.findByRole('slider');
    await open('tickets');
    expect(screen.queryByRole('slider')).toBeNull();
    await stage.news('models');
    expect(screen.queryByRole('slider')).toBeNull();
    expect(screen.getByRole('progressbar')).toBeVisible();
  });

  it('asks for the curve of a finished run only when it is opened', async () => {
    const { stage, answers } = stageOf([], [{ ...RUN, status: 'finished' }]);
    render(<Section {...stage.props} />);
    await screen.findByText('tickets');
    expect(answers.training).not.toHaveBeenCalled();
    await open('tickets');
    expect(await screen.findByRole('slider')).toBeVisible();
    expect(answers.training).toHaveBeenCalledWith('r1');
  });

  it.each([
    ['running', ['%finetune stop r1', '%finetune panel r1']],
    [
      'interrupted',
      ['%finetune resume r1', '%finetune show r1', '%finetune remove r1']
    ],
    ['finished', ['%finetune show r1', '%finetune remove r1']]
  ])('offers what a run that is %s can do', async (status, lines) => {
    const { stage } = stageOf([], [{ ...RUN, status }]);
    const { container } = render(<Section {...stage.props} item="r1" />);
    await screen.findByRole('slider');
    container
      .querySelectorAll<HTMLElement>('.jp-LLMOps-actions button')
      .forEach(button => fireEvent.click(button));
    expect(stage.host.insertCell.mock.calls.map(([line]) => line)).toEqual(
      lines
    );
  });

  it('shows what the model said before and after', async () => {
    const samples = [{ prompt: 'Where?', before: 'Dunno', after: 'Here.' }];
    const { stage } = stageOf([], [{ ...RUN, samples }]);
    render(<Section {...stage.props} />);
    await open('1 sample');
    for (const text of ['Where?', 'Dunno', 'Here.']) {
      expect(screen.getByText(text)).toBeVisible();
    }
  });

  it('draws a curve of a hundred thousand steps with few elements', async () => {
    const train = Array.from(
      { length: 100_000 },
      (_, i) => [i, 3 - i / 50_000] as [number, number]
    );
    const { stage } = stageOf([], [{ ...RUN, train, steps: 100_000 }]);
    const { container } = render(<Section {...stage.props} />);
    await screen.findByRole('slider');
    expect(container.querySelectorAll('*').length).toBeLessThan(300);
  });

  it('shows what comes from the store as text only', async () => {
    const samples = [{ prompt: HOSTILE, before: HOSTILE, after: HOSTILE }];
    const run = {
      ...RUN,
      name: HOSTILE,
      model: HOSTILE,
      words: HOSTILE,
      samples
    };
    const { stage } = stageOf(
      [{ ...MODEL, name: HOSTILE, architecture: HOSTILE, kind: HOSTILE }],
      [run, { ...run, id: 'r2', status: HOSTILE }]
    );
    const { container } = render(<Section {...stage.props} />);
    await open('1 sample');
    expect(dangerous(container)).toEqual([]);
    expect(container.textContent).toContain('<script>alert(1)</script>');
    expect(container.textContent).not.toContain('\u001b');
  });

  it('is accessible with everything open', async () => {
    const { stage } = stageOf(
      [
        {
          ...MODEL,
          missing: true,
          tuned: [
            {
              copy: 'Q8_0',
              size: 1,
              tokens_per_s: 2,
              perplexity: { value: 20, low: 19, high: 21, n: 100 },
              chosen: true
            }
          ]
        }
      ],
      [RUN]
    );
    const { container } = render(<Section {...stage.props} />);
    await screen.findByRole('slider');
    await open('file missing');
    expect(await violations(container)).toEqual([]);
  });
});
