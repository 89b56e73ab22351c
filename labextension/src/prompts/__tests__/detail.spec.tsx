/* eslint-disable jupyter/no-untranslated-string -- names that a server would send */
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

import { Client, IPrompt } from '../../api';
import { IHost } from '../../host';
import { ApiError } from '../../request';
import Section from '../section';
import {
  expectInert,
  failOnComplaints,
  difference,
  HOSTILE,
  hosting,
  prompt,
  trans,
  version,
  watching
} from './stand_ins';

failOnComplaints();
afterEach(cleanup);

async function show(
  client: Partial<Client> = {},
  item = 'support-reply',
  answers: Partial<IHost> = {}
) {
  const asked = {
    prompt: jest.fn(async () => prompt()),
    diff: jest.fn(async (_: string, a: number, b: number) => difference(a, b)),
    promote: jest.fn(async () => prompt()),
    rollback: jest.fn(async () => prompt()),
    ...client
  };
  const { watched } = watching(asked as unknown as Client);
  const host = hosting(answers);
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
          if (section === 'prompts') {
            setPlace(wanted);
          }
        }}
      />
    );
  }
  const found = render(<Panel />);
  await act(async () => {});
  return { ...found, asked, host, went };
}

async function click(name: string | RegExp) {
  await act(async () => {
    fireEvent.click(screen.getByRole('button', { name }));
  });
}

const shown = (number: number) =>
  screen.getByRole('region', { name: `Version ${number}` });

describe('a prompt', () => {
  it('shows its newest version, its history, its aliases and what changed', async () => {
    const { asked } = await show();
    expect(within(shown(3)).getByText('text 3')).toBeInTheDocument();
    const history = screen.getByRole('listbox', {
      name: 'Versions, newest first'
    });
    const rows = within(history)
      .getAllByRole('option')
      .map(row => row.textContent);
    expect(rows).toHaveLength(3);
    expect(rows[0]).toMatch(/^@330 traces.*friendlier$/);
    expect(rows[1]).toMatch(/^@2production20 traces/);
    expect(screen.getByRole('region', { name: 'Aliases' })).toHaveTextContent(
      'productionversion 220 traces'
    );
    expect(asked.diff).toHaveBeenCalledWith('support-reply', 2, 3);
    expect(
      screen.getByRole('table', {
        name: 'Changes of template from support-reply@2 to support-reply@3'
      })
    ).toHaveTextContent('1−removedtext 21+addedtext 3');
  });

  it('shows the version that an alias or a number names', async () => {
    await show({}, 'support-reply@production');
    expect(shown(2)).toBeInTheDocument();
    cleanup();
    await show({}, 'support-reply@1');
    expect(shown(1)).toBeInTheDocument();
  });

  it('shows the newest where a version is not there, and says so', async () => {
    await show({}, 'support-reply@9');
    expect(
      screen.getByText('There is no version 9; this is version 3.')
    ).toBeInTheDocument();
  });

  it('shows another version from its history by keyboard', async () => {
    const { went } = await show();
    const history = screen.getByRole('listbox', {
      name: 'Versions, newest first'
    });
    fireEvent.keyDown(history, { key: 'ArrowDown' });
    await act(async () => {
      fireEvent.keyDown(history, { key: 'Enter' });
    });
    expect(went).toEqual(['prompts support-reply@2']);
    expect(shown(2)).toBeInTheDocument();
    expect(
      within(history).getByRole('option', { selected: true })
    ).toHaveFocus();
  });

  it('compares the two versions that were chosen, and swaps them', async () => {
    const { asked, went } = await show({}, 'support-reply@1..3');
    expect(asked.diff).toHaveBeenLastCalledWith('support-reply', 1, 3);
    const changes = screen.getByRole('region', { name: 'What changed' });
    expect(
      changes.compareDocumentPosition(shown(3)) &
        Node.DOCUMENT_POSITION_FOLLOWING
    ).toBeTruthy();
    await click('Swap the two versions');
    expect(went).toEqual(['prompts support-reply@3..1']);
    expect(asked.diff).toHaveBeenLastCalledWith('support-reply', 3, 1);
    await act(async () => {
      fireEvent.change(screen.getByRole('combobox', { name: 'from' }), {
        target: { value: '1' }
      });
    });
    expect(
      screen.getByText('Choose two versions that are not the same.')
    ).toBeInTheDocument();
    expect(asked.diff).toHaveBeenCalledTimes(2);
  });

  it('has nothing to compare where there is one version', async () => {
    const { asked } = await show({
      prompt: async () =>
        prompt({ versions: [version(1)], aliases: {}, back: {}, log: [] })
    });
    expect(asked.diff).not.toHaveBeenCalled();
    expect(screen.queryByRole('region', { name: 'What changed' })).toBeNull();
    expect(
      screen.getByText('None yet. Promote a version to give it one.')
    ).toBeInTheDocument();
  });

  it('shows the moves of its aliases, newest first', async () => {
    await show();
    const table = screen.getByRole('table', {
      name: 'Moves of aliases, newest first',
      hidden: true
    });
    const rows = within(table)
      .getAllByRole('row', { hidden: true })
      .map(row => row.textContent);
    expect(rows[1]).toMatch(/production1 → 2better on the golden set$/);
    expect(rows[2]).toMatch(/production– → 1$/);
  });

  it('shows the shares of a running split', async () => {
    await show({
      prompt: async () =>
        prompt({
          split: {
            alias: 'production',
            arms: { 2: 90, 3: 10 },
            words: 'support-reply@production: version 2 90%, version 3 10%'
          }
        })
    });
    const arms = within(
      screen.getByRole('list', {
        name: 'support-reply@production: version 2 90%, version 3 10%'
      })
    ).getAllByRole('listitem');
    expect(arms.map(arm => arm.textContent)).toEqual([
      'version 290 %',
      'version 310 %'
    ]);
  });

  it('shows the settings of the last run that say something', async () => {
    const { container } = await show({
      prompt: async () =>
        prompt({
          versions: [
            version(1, {
              settings: {
                model: 'smollm2',
                temperature: 0,
                stop: [],
                adapter: null,
                seed: ''
              }
            })
          ]
        })
    });
    expect(container.querySelector('.jp-LLMOps-settings')?.textContent).toBe(
      'modelsmollm2temperature0'
    );
  });

  it('says what went wrong in the words of the server', async () => {
    await show({
      prompt: () =>
        Promise.reject(new ApiError(404, 'UnknownNameError', 'No such prompt.'))
    });
    expect(screen.getByRole('alert')).toHaveTextContent('No such prompt.');
    expect(
      screen.getByRole('button', { name: '‹ All prompts' })
    ).toBeInTheDocument();
  });

  it('runs nothing of a hostile prompt', async () => {
    const { container } = await show({
      prompt: async () =>
        prompt({
          name: HOSTILE,
          versions: [
            version(2, {
              note: HOSTILE,
              template: HOSTILE,
              aliases: [HOSTILE],
              settings: { [HOSTILE]: HOSTILE, more: { x: HOSTILE } }
            }),
            version(1)
          ],
          aliases: { [HOSTILE]: 2, constructor: 1 },
          back: { [HOSTILE]: 1 },
          log: [
            {
              alias: HOSTILE,
              version: null,
              previous: 1,
              at: HOSTILE,
              note: HOSTILE
            }
          ],
          split: { alias: HOSTILE, arms: { 2: 1, 1: 1 }, words: HOSTILE }
        })
    });
    expectInert(container);
  });

  it('has some of a thousand versions in the page', async () => {
    const versions = Array.from({ length: 1000 }, (_, i) => version(1000 - i));
    const { container } = await show({
      prompt: async () => prompt({ versions, aliases: {}, back: {} })
    });
    expect(container.querySelectorAll('.jp-LLMOps-entry')).toHaveLength(30);
  });

  it('is seen in the history when one goes to it from an alias', async () => {
    const versions = Array.from({ length: 100 }, (_, i) => version(100 - i));
    await show({
      prompt: async () => prompt({ versions, aliases: { old: 1 }, back: {} })
    });
    await click('version 1');
    const history = screen.getByRole('listbox', {
      name: 'Versions, newest first'
    });
    expect(
      within(history).getByRole('option', { selected: true })
    ).toHaveTextContent('@1');
  });

  it('has no fault that axe finds', async () => {
    const { container } = await show();
    await click('Promote…');
    expect((await axe(container)).violations).toEqual([]);
  });
});

describe('a version', () => {
  it('is put into the notebook as its cell', async () => {
    const { host } = await show();
    await click('Insert into notebook');
    expect(host.insertCell).toHaveBeenCalledWith(
      '%%prompt support-reply\ntext 3'
    );
    expect(host.notify).not.toHaveBeenCalled();
  });

  it('that is not the newest is loaded the same way', async () => {
    const { host } = await show({}, 'support-reply@1');
    await click('Load this version');
    expect(host.insertCell).toHaveBeenCalledWith(
      '%%prompt support-reply\ntext 1'
    );
  });

  it('is not put anywhere without a notebook, and the reader is told', async () => {
    const { host } = await show({}, 'support-reply', {
      insertCell: jest.fn().mockResolvedValue(false)
    });
    await click('Insert into notebook');
    expect(host.notify).toHaveBeenCalledWith(
      'Open a notebook first, one that can be changed: the cell goes below its active one.',
      'error'
    );
  });

  it('that cannot be put there says why', async () => {
    const { host } = await show({}, 'support-reply', {
      insertCell: jest.fn().mockRejectedValue(new Error('read only')),
      copy: jest.fn().mockRejectedValue(new Error('no clipboard'))
    });
    await click('Insert into notebook');
    await click('Copy');
    expect(host.notify.mock.calls).toEqual([
      ['read only', 'error'],
      ['no clipboard', 'error']
    ]);
  });

  it('is copied as its text', async () => {
    const { host } = await show();
    await click('Copy');
    expect(host.copy).toHaveBeenCalledWith('text 3\n');
  });

  it('leads to its traces', async () => {
    const { went } = await show();
    await click('30 traces →');
    expect(went).toEqual(['traces prompt:support-reply@3']);
  });
});

describe('a promotion', () => {
  async function promote(alias?: string, note?: string) {
    await click('Promote…');
    const form = screen.getByRole('form', { name: 'Promote version 3' });
    if (alias !== undefined) {
      fireEvent.change(within(form).getByRole('combobox', { name: 'Alias' }), {
        target: { value: alias }
      });
    }
    if (note !== undefined) {
      fireEvent.change(
        within(form).getByRole('textbox', { name: 'Why (optional)' }),
        { target: { value: note } }
      );
    }
    await act(async () => {
      fireEvent.submit(form);
    });
  }
  const moved = prompt({ aliases: { production: 3 }, back: { production: 2 } });

  it('asks first: what is now, what will be, what changes and what was said', async () => {
    const { asked, host } = await show({ promote: async () => moved });
    await promote();
    expect(host.confirm).toHaveBeenCalledWith(
      'Promote support-reply@3 to production?',
      [
        'Now: production is version 2, which has 20 traces.',
        'Then: production is version 3 (friendlier).',
        'Lines: 1 added, 1 removed.',
        '− text 2',
        '+ text 3'
      ],
      'Promote'
    );
    expect(asked.diff).toHaveBeenLastCalledWith('support-reply', 2, 3);
  });

  it('sends where the alias pointed, tells what came of it, and reads the prompt again', async () => {
    const send = jest.fn(async () => moved);
    const { asked, host } = await show({ promote: send });
    await promote('production', ' better on the golden set ');
    expect(send).toHaveBeenCalledWith(
      'support-reply',
      'production',
      3,
      2,
      'better on the golden set'
    );
    expect(host.notify).toHaveBeenCalledWith(
      'production is version 3 now; it was version 2.',
      'success'
    );
    expect(asked.prompt).toHaveBeenCalledTimes(2);
    expect(screen.queryByRole('form')).toBeNull();
    expect(screen.getByRole('button', { name: 'Promote…' })).toHaveFocus();
  });

  it('of a new alias says that it points nowhere, and expects nothing', async () => {
    const send = jest.fn(async () =>
      prompt({ aliases: { production: 2, constructor: 3 } })
    );
    const { host } = await show({ promote: send });
    await promote('constructor');
    expect(host.confirm.mock.calls[0][1]).toEqual([
      'Now: constructor points at no version.',
      'Then: constructor is version 3 (friendlier).'
    ]);
    expect(send).toHaveBeenCalledWith(
      'support-reply',
      'constructor',
      3,
      null,
      ''
    );
    expect(host.notify).toHaveBeenCalledWith(
      'constructor is version 3 now.',
      'success'
    );
  });

  it('is sent once, however often one asks for it meanwhile', async () => {
    let say: (yes: boolean) => void = () => undefined;
    const { asked, host } = await show({}, 'support-reply', {
      confirm: jest.fn(
        () =>
          new Promise<boolean>(resolve => {
            say = resolve;
          })
      )
    });
    await promote();
    await act(async () => {
      fireEvent.submit(screen.getByRole('form'));
    });
    await click('Roll production back to version 1');
    await act(async () => say(true));
    expect(host.confirm).toHaveBeenCalledTimes(1);
    expect(asked.promote).toHaveBeenCalledTimes(1);
    expect(asked.rollback).not.toHaveBeenCalled();
  });

  it('does nothing where the reader says no, and leaves the form', async () => {
    const { asked } = await show({}, 'support-reply', {
      confirm: jest.fn().mockResolvedValue(false)
    });
    await promote();
    expect(asked.promote).not.toHaveBeenCalled();
    expect(screen.getByRole('form')).toBeInTheDocument();
    fireEvent.keyDown(screen.getByRole('form'), { key: 'Escape' });
    expect(screen.queryByRole('form')).toBeNull();
  });

  it('says where the alias points by now if somebody was faster, and reads the prompt again', async () => {
    let now: IPrompt = prompt();
    const { asked, host } = await show({
      prompt: jest.fn(async () => now),
      promote: jest.fn(async () => {
        now = prompt({ aliases: { production: 1 }, back: {} });
        throw new ApiError(409, 'ConflictError', 'It has been moved.');
      })
    });
    await promote();
    expect(screen.getByRole('alert')).toHaveTextContent(
      'Nothing was moved: production is version 1 by now, not version 2 as when you looked.'
    );
    expect(host.notify).not.toHaveBeenCalled();
    expect(screen.getByRole('region', { name: 'Aliases' })).toHaveTextContent(
      'productionversion 1'
    );
    // The next try knows where it points.
    await act(async () => {
      fireEvent.submit(screen.getByRole('form'));
    });
    expect(asked.promote).toHaveBeenLastCalledWith(
      'support-reply',
      'production',
      3,
      1,
      ''
    );
  });

  it('says that the alias is gone if somebody removed it meanwhile', async () => {
    let now: IPrompt = prompt();
    await show({
      prompt: async () => now,
      promote: async () => {
        now = prompt({ aliases: {}, back: {} });
        throw new ApiError(409, 'ConflictError', 'It has been removed.');
      }
    });
    await promote();
    expect(screen.getByRole('alert')).toHaveTextContent(
      'Nothing was moved: production has been removed since you looked.'
    );
  });

  it('says what else went wrong in the words of the server', async () => {
    await show({
      promote: () =>
        Promise.reject(
          new ApiError(400, 'OptionError', "'7' cannot be an alias")
        )
    });
    await promote('7');
    expect(screen.getByRole('alert')).toHaveTextContent(
      "'7' cannot be an alias"
    );
  });

  it('goes on without a difference that cannot be read, and says so', async () => {
    const send = jest.fn(async () => moved);
    const { host } = await show({
      promote: send,
      diff: () => Promise.reject(new ApiError(500, 'Server', 'no answer'))
    });
    await promote();
    expect(host.confirm.mock.calls[0][1]).toContain(
      'The difference could not be read: no answer'
    );
    expect(send).toHaveBeenCalled();
  });

  it('of a version that the alias has already asks nothing', async () => {
    const { asked, host } = await show({
      prompt: async () => prompt({ aliases: { production: 3 } })
    });
    await promote();
    expect(host.confirm).not.toHaveBeenCalled();
    expect(asked.promote).not.toHaveBeenCalled();
    expect(host.notify).toHaveBeenCalledWith(
      'production is version 3 already.'
    );
  });

  it('says that a running split ends, and shows only the first lines of a long difference', async () => {
    const { host } = await show({
      prompt: async () =>
        prompt({
          split: {
            alias: 'production',
            arms: { 2: 0.9, 3: 0.1 },
            words: 'support-reply@production: version 2 90%, version 3 10%'
          }
        }),
      diff: async () => ({
        a: 'support-reply@2',
        b: 'support-reply@3',
        parts: [
          {
            title: 'template',
            lines: Array.from({ length: 20 }, (_, i) => ({
              kind: 'added' as const,
              text: 'x'.repeat(500),
              a: null,
              b: i + 1
            }))
          }
        ]
      })
    });
    await promote();
    const facts = host.confirm.mock.calls[0][1];
    expect(facts).toContain(
      'The running split ends: support-reply@production: version 2 90%, version 3 10%.'
    );
    expect(facts).toHaveLength(3 + 1 + 6 + 1);
    expect(facts[facts.length - 1]).toBe('and 14 more');
    expect(Math.max(...facts.map(fact => fact.length))).toBeLessThan(120);
  });

  it('to a version that differs in a setting only says in which', async () => {
    const { host } = await show({
      diff: async () => ({
        a: 'support-reply@2',
        b: 'support-reply@3',
        parts: [
          {
            title: 'chain of thought',
            lines: [
              { kind: 'removed', text: 'no', a: 1, b: null },
              { kind: 'added', text: 'yes', a: null, b: 1 }
            ]
          }
        ]
      })
    });
    await promote();
    const facts = host.confirm.mock.calls[0][1];
    expect(facts).toEqual(
      expect.arrayContaining([
        '− chain of thought: no',
        '+ chain of thought: yes'
      ])
    );
  });
});

describe('a roll-back', () => {
  it('names the version that it goes back to, asks, and sends where the alias points', async () => {
    const send = jest.fn(async () =>
      prompt({ aliases: { production: 1 }, back: {} })
    );
    const { asked, host } = await show({ rollback: send });
    await click('Roll production back to version 1');
    expect(host.confirm).toHaveBeenCalledWith(
      'Roll support-reply@production back to version 1?',
      [
        'Now: production is version 2, which has 20 traces.',
        'Then: production is version 1.',
        'Lines: 1 added, 1 removed.',
        '− text 2',
        '+ text 1'
      ],
      'Roll back'
    );
    expect(asked.diff).toHaveBeenCalledWith('support-reply', 2, 1);
    expect(send).toHaveBeenCalledWith('support-reply', 'production', 2);
    expect(host.notify).toHaveBeenCalledWith(
      'production is version 1 now; it was version 2.',
      'success'
    );
  });

  it('is not offered to an alias that has not been elsewhere', async () => {
    await show({ prompt: async () => prompt({ back: {} }) });
    expect(screen.queryByRole('button', { name: /Roll/ })).toBeNull();
  });

  it('that is overtaken moves nothing and says where the alias points', async () => {
    let now: IPrompt = prompt();
    await show({
      prompt: async () => now,
      rollback: async () => {
        now = prompt({ aliases: { production: 3 } });
        throw new ApiError(409, 'ConflictError', 'It has been moved.');
      }
    });
    await click('Roll production back to version 1');
    expect(screen.getByRole('alert')).toHaveTextContent(
      'production is version 3 by now, not version 2 as when you looked.'
    );
  });
});
