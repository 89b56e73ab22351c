import { TranslationBundle } from '@jupyterlab/translation';
import * as React from 'react';

import { Client, IDiff, IPrompt } from '../api';
import { IHost } from '../host';
import { ApiError } from '../request';
import { counts } from '../shared/difference';
import { own } from '../shared/own';
import { number } from '../shared/quantities';
import { words } from '../shared/states';
import { beginning, visible } from '../shared/visible';

/** How much of a difference a confirmation shows. */
const LINES = 6;
const TEMPLATE = 'template';
const CHARACTERS = 90;

/** Moving aliases, with everything that is asked and said about it. */
export interface IMoves {
  /** Whether one is under way; another does nothing. Buttons stay enabled, so that the focus stays on them. */
  busy: boolean;
  /** What went wrong with the last move, and whether that was a roll-back; null if nothing did. */
  trouble: { words: string; back: boolean } | null;
  /** Each resolves to whether the alias was moved. */
  promote: (alias: string, version: number, note: string) => Promise<boolean>;
  rollback: (alias: string) => Promise<boolean>;
}

/** The moves of the aliases of a prompt; `again` reads it anew. */
export function useMoves(props: {
  client: Client | null;
  host: IHost;
  trans: TranslationBundle;
  prompt: IPrompt;
  again: () => void;
}): IMoves {
  const { client, host, trans, prompt, again } = props;
  const [busy, setBusy] = React.useState(false);
  const running = React.useRef(false);
  const [trouble, setTrouble] = React.useState<IMoves['trouble']>(null);

  const move = async (
    asked: Pick<IMove, 'alias' | 'version' | 'back'>,
    send: (client: Client, now: number | null) => Promise<IPrompt>
  ): Promise<boolean> => {
    if (client === null || running.current) {
      return false;
    }
    const now = own(prompt.aliases, asked.alias) ?? null;
    const wanted = { ...asked, prompt, now };
    running.current = true;
    setBusy(true);
    setTrouble(null);
    try {
      const facts = await factsOf(client, trans, wanted);
      const { title, action } = question(trans, wanted);
      if (!(await host.confirm(title, facts, action))) {
        return false;
      }
      const after = await send(client, now);
      host.notify(told(trans, wanted, after), 'success');
      again();
      return true;
    } catch (fault) {
      again();
      const said =
        fault instanceof ApiError && fault.status === 409
          ? await overtaken(client, trans, wanted, fault)
          : words(trans, fault);
      setTrouble({ words: visible(said), back: asked.back });
      return false;
    } finally {
      running.current = false;
      setBusy(false);
    }
  };

  return {
    busy,
    trouble,
    promote: async (alias, version, note) => {
      if (own(prompt.aliases, alias) === version && !isSplit(prompt, alias)) {
        host.notify(
          trans.__('%1 is version %2 already.', visible(alias), version)
        );
        return false;
      }
      return move({ alias, version, back: false }, (asked, now) =>
        asked.promote(prompt.name, alias, version, now, note)
      );
    },
    rollback: async alias => {
      const version = own(prompt.back, alias);
      return version === undefined
        ? false
        : move({ alias, version, back: true }, (asked, now) =>
            asked.rollback(prompt.name, alias, now ?? version)
          );
    }
  };
}

interface IMove {
  prompt: IPrompt;
  alias: string;
  /** Where it shall point, and where it points; null: nowhere. */
  version: number;
  now: number | null;
  back: boolean;
}

function isSplit(prompt: IPrompt, alias: string): boolean {
  return prompt.split?.alias === alias;
}

function question(
  trans: TranslationBundle,
  { prompt, alias, version, back }: IMove
): { title: string; action: string } {
  const name = visible(prompt.name);
  return back
    ? {
        title: trans.__(
          'Roll %1 back to version %2?',
          `${name}@${visible(alias)}`,
          version
        ),
        action: trans.__('Roll back')
      }
    : {
        title: trans.__(
          'Promote %1 to %2?',
          `${name}@${version}`,
          visible(alias)
        ),
        action: trans.__('Promote')
      };
}

/** What somebody wants to know before an alias is moved: what runs now, what will, and how they differ. */
export async function factsOf(
  client: Client,
  trans: TranslationBundle,
  move: IMove
): Promise<string[]> {
  const { prompt, now, version } = move;
  const alias = visible(move.alias);
  const facts: string[] = [];
  if (now === null) {
    facts.push(trans.__('Now: %1 points at no version.', alias));
  } else {
    const traces = prompt.versions.find(v => v.version === now)?.traces ?? 0;
    facts.push(
      trans._n(
        'Now: %2 is version %3, which has %4 trace.',
        'Now: %2 is version %3, which has %4 traces.',
        traces,
        alias,
        now,
        number(traces)
      )
    );
  }
  const note = prompt.versions.find(v => v.version === version)?.note ?? '';
  facts.push(
    note
      ? trans.__(
          'Then: %1 is version %2 (%3).',
          alias,
          version,
          beginning(visible(note), CHARACTERS)
        )
      : trans.__('Then: %1 is version %2.', alias, version)
  );
  if (prompt.split !== null && isSplit(prompt, move.alias)) {
    facts.push(
      trans.__('The running split ends: %1.', visible(prompt.split.words))
    );
  }
  if (now !== null && now !== version) {
    facts.push(...(await changes(client, trans, move, now)));
  }
  return facts;
}

async function changes(
  client: Client,
  trans: TranslationBundle,
  { prompt, version }: IMove,
  now: number
): Promise<string[]> {
  let diff: IDiff;
  try {
    diff = await client.diff(prompt.name, now, version);
  } catch (fault) {
    return [
      trans.__('The difference could not be read: %1', words(trans, fault))
    ];
  }
  const lines = diff.parts.flatMap(part =>
    part.lines
      .filter(line => line.kind === 'added' || line.kind === 'removed')
      // A line of the template speaks for itself; "yes" has to say of what.
      .map(line => ({
        ...line,
        said:
          part.title === TEMPLATE ? line.text : `${part.title}: ${line.text}`
      }))
  );
  const { added, removed } = counts(lines);
  const shown = lines
    .slice(0, LINES)
    .map(
      line =>
        `${line.kind === 'added' ? '+' : '−'} ${beginning(visible(line.said), CHARACTERS)}`
    );
  const rest = lines.length - shown.length;
  return [
    trans.__('Lines: %1 added, %2 removed.', number(added), number(removed)),
    ...shown,
    ...(rest > 0 ? [trans._n('and %1 more', 'and %1 more', rest)] : [])
  ];
}

function told(
  trans: TranslationBundle,
  { alias, now }: IMove,
  after: IPrompt
): string {
  const version = own(after.aliases, alias) ?? 0;
  return now === null
    ? trans.__('%1 is version %2 now.', visible(alias), version)
    : trans.__(
        '%1 is version %2 now; it was version %3.',
        visible(alias),
        version,
        now
      );
}

/** Somebody else moved the alias meanwhile: where it points now. */
async function overtaken(
  client: Client,
  trans: TranslationBundle,
  { prompt, alias, now }: IMove,
  fault: ApiError
): Promise<string> {
  let fresh: IPrompt;
  try {
    fresh = await client.prompt(prompt.name);
  } catch {
    return words(trans, fault);
  }
  const version = own(fresh.aliases, alias);
  const name = visible(alias);
  if ((version ?? null) === now) {
    return words(trans, fault); // It is back, or something else stands in the way.
  }
  if (version === undefined) {
    return trans.__(
      'Nothing was moved: %1 has been removed since you looked.',
      name
    );
  }
  return now === null
    ? trans.__(
        'Nothing was moved: %1 has been set to version %2 since you looked.',
        name,
        version
      )
    : trans.__(
        'Nothing was moved: %1 is version %2 by now, not version %3 as when you looked.',
        name,
        version,
        now
      );
}
