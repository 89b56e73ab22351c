import { nullTranslator } from '@jupyterlab/translation';
import { Signal } from '@lumino/signaling';
import { act } from '@testing-library/react';
import { axe } from 'jest-axe';

import { Client, Topic } from '../../api';
import { IHost } from '../../host';
import { ISectionProps } from '../../panel/sections';
import { Watched } from '../../watched';

export const trans = nullTranslator.load('llmops_jupyter');

/** What would run, load or break out if it were ever more than text. */
export const HOSTILE =
  '<img src=x onerror=alert(1)><script>alert(1)</script>[a](javascript:alert(1))\u001b[31mred\u202egnp.exe';

/** A section's surroundings with a client of a test's own. */
export class Stage {
  constructor(client: Partial<Client>) {
    const watched = {
      client: { workspace: 'w', ...client } as Client
    } as { client: Client; changed: unknown; news: unknown };
    watched.changed = new Signal<typeof watched, void>(watched);
    this._news = new Signal<typeof watched, ReadonlySet<Topic>>(watched);
    watched.news = this._news;
    this._watched = watched as unknown as Watched;
  }

  get props(): ISectionProps {
    return {
      watched: this._watched,
      host: this.host as unknown as IHost,
      trans,
      item: '',
      go: this.go
    };
  }

  /** Say that something may have changed, and wait for what comes of it. */
  async news(...topics: Topic[]): Promise<void> {
    await act(async () => {
      this._news.emit(new Set(topics));
    });
  }

  readonly go = jest.fn<void, [Topic, string?]>();
  readonly host = {
    openTrace: jest.fn<void, [string]>(),
    openCell: jest.fn().mockResolvedValue(true),
    insertCell: jest.fn<Promise<boolean>, [string]>().mockResolvedValue(true),
    confirm: jest.fn().mockResolvedValue(true),
    askText: jest.fn().mockResolvedValue(null),
    notify: jest.fn<void, [string, string?]>(),
    copy: jest.fn().mockResolvedValue(undefined)
  };
  private readonly _watched: Watched;
  private readonly _news: Signal<unknown, ReadonlySet<Topic>>;
}

/** Fail where React or anything else complains. */
export function complaintsFail(): void {
  let complaints: jest.SpyInstance[] = [];
  beforeEach(() => {
    complaints = [jest.spyOn(console, 'error'), jest.spyOn(console, 'warn')];
  });
  afterEach(() => {
    const said = complaints.flatMap(spy => spy.mock.calls);
    for (const spy of complaints) {
      spy.mockRestore();
    }
    expect(said).toEqual([]);
  });
}

/** The violations of accessibility rules, each with its elements. */
export async function violations(element: Element): Promise<string[]> {
  // Parts stand alone here, so that they lie in no landmark and begin with no heading of the first level.
  const { violations } = await axe(element);
  return violations
    .filter(({ id }) => !['region', 'heading-order'].includes(id))
    .map(({ id, nodes }) => `${id}: ${nodes.map(n => n.html).join(' ')}`);
}

/** Elements that text of the store must never become. */
export function dangerous(element: Element): Element[] {
  return [
    ...element.querySelectorAll(
      'img, script, iframe, object, embed, link, [onerror], a:not([href^="http"])'
    )
  ];
}
