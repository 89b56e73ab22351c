/* eslint-disable jupyter/no-untranslated-string -- names that a server would send */
import { nullTranslator } from '@jupyterlab/translation';
import { Signal } from '@lumino/signaling';

import {
  Client,
  IDiff,
  IPrompt,
  IPromptSummary,
  IPromptVersion,
  Topic
} from '../../api';
import { IHost } from '../../host';
import { Watched } from '../../watched';

export const trans = nullTranslator.load('llmops_jupyter');

/** What a hostile store could hold, in one string. */
export const HOSTILE =
  '<img src=x onerror="window.ran=1"><script>window.ran=1</script>[x](javascript:1)\u001b[31m\u202eevil %1 $&';

/** Nothing of HOSTILE became more than text, and nothing of it is unseen. */
export function expectInert(element: Element): void {
  expect(
    element.querySelector('img:not([role]), script, iframe, a, [onerror]')
  ).toBeNull();
  expect(element.textContent).toContain('<script>window.ran=1</script>');
  expect(element.textContent).not.toContain('\u001b');
  expect(element.textContent).not.toContain('\u202e');
  expect(Object.keys(window)).not.toContain('ran');
}

/** In a file of tests: whatever React complains about fails the test. */
export function failOnComplaints(): void {
  let heard: jest.SpyInstance[] = [];
  beforeEach(() => {
    heard = [jest.spyOn(console, 'error'), jest.spyOn(console, 'warn')];
  });
  afterEach(() => {
    const calls = heard.flatMap(spy => spy.mock.calls);
    heard.forEach(spy => spy.mockRestore());
    expect(calls).toEqual([]);
  });
}

/** A watched workspace over a client of the test's own; `tell` is what its polling would say. */
export function watching(client: Partial<Client>): {
  watched: Watched;
  tell: (...topics: Topic[]) => void;
} {
  const owner = {};
  const news = new Signal<object, ReadonlySet<Topic>>(owner);
  const watched = {
    client,
    changed: new Signal<object, void>(owner),
    news
  } as unknown as Watched;
  return { watched, tell: (...topics) => news.emit(new Set(topics)) };
}

/** A host that says yes to every question and remembers what it was asked. */
export function hosting(answers: Partial<IHost> = {}): jest.Mocked<IHost> {
  return {
    openTrace: jest.fn(),
    openCell: jest.fn().mockResolvedValue(true),
    insertCell: jest.fn().mockResolvedValue(true),
    confirm: jest.fn().mockResolvedValue(true),
    askText: jest.fn().mockResolvedValue(null),
    notify: jest.fn(),
    copy: jest.fn().mockResolvedValue(undefined),
    ...answers
  } as jest.Mocked<IHost>;
}

export function summary(more: Partial<IPromptSummary> = {}): IPromptSummary {
  return {
    name: 'support-reply',
    latest: 3,
    versions: 3,
    aliases: { production: 2 },
    split: null,
    saved_at: '2026-01-03T10:00:00Z',
    traces: 412,
    preview: 'You are a support agent.',
    ...more
  };
}

export function version(
  number: number,
  more: Partial<IPromptVersion> = {}
): IPromptVersion {
  return {
    version: number,
    saved_at: `2026-01-0${number}T10:00:00Z`,
    note: '',
    aliases: [],
    cell: `%%prompt support-reply\ntext ${number}`,
    template: `text ${number}\n`,
    settings: {},
    traces: number * 10,
    ...more
  };
}

/** Three versions; production is the second and was the first. */
export function prompt(more: Partial<IPrompt> = {}): IPrompt {
  return {
    name: 'support-reply',
    versions: [
      version(3, { note: 'friendlier' }),
      version(2, { aliases: ['production'] }),
      version(1)
    ],
    aliases: { production: 2 },
    back: { production: 1 },
    log: [
      {
        alias: 'production',
        version: 1,
        previous: null,
        at: '2026-01-01T11:00:00Z',
        note: ''
      },
      {
        alias: 'production',
        version: 2,
        previous: 1,
        at: '2026-01-02T11:00:00Z',
        note: 'better on the golden set'
      }
    ],
    split: null,
    ...more
  };
}

export function difference(a: number, b: number): IDiff {
  return {
    a: `support-reply@${a}`,
    b: `support-reply@${b}`,
    parts: [
      {
        title: 'template',
        lines: [
          { kind: 'removed', text: `text ${a}`, a: 1, b: null },
          { kind: 'added', text: `text ${b}`, a: null, b: 1 }
        ]
      }
    ]
  };
}
