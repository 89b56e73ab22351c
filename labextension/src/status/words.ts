import { TranslationBundle } from '@jupyterlab/translation';

import { IStatus } from '../api';
import { bytes, number } from '../shared/quantities';
import { beginning, visible } from '../shared/visible';

/** A speed that is older than this says little of now. */
const OLD_MS = 30 * 60_000;
const NAME_MOST = 28;

/** What the status bar says: `text` in it, `title` in full. */
export interface IStatusWords {
  text: string;
  title: string;
  state: 'ok' | 'warning' | 'alert';
}

/** The state of the workspace on a line; null where there is nothing to say. */
export function statusWords(
  status: IStatus,
  trans: TranslationBundle,
  now = Date.now()
): IStatusWords | null {
  const { models, last, alerts } = status;
  const parts: string[] = [];
  const lines: string[] = [];
  if (models.length) {
    parts.push(loaded(status, trans));
    lines.push(
      ...models.map(one =>
        trans.__('%1 is loaded: %2', visible(one.model), bytes(one.memory))
      )
    );
  }
  if (last && last.tokens_per_s !== null && isRecent(last.at, now)) {
    const speed = trans.__('%1 tokens/s', number(last.tokens_per_s, 1));
    parts.push(speed);
    lines.push(trans.__('Last answer by %1: %2', visible(last.model), speed));
  }
  const told = alarms(alerts, trans);
  parts.push(...told);
  lines.push(...told);
  if (!parts.length) {
    return null;
  }
  lines.push(trans.__('Show the monitor'));
  return {
    text: parts.join(' · '),
    title: lines.join('\n'),
    state: alerts.alert > 0 ? 'alert' : alerts.warning > 0 ? 'warning' : 'ok'
  };
}

function loaded({ models }: IStatus, trans: TranslationBundle): string {
  const known = models
    .map(one => one.memory)
    .filter((memory): memory is number => memory !== null);
  const memory = known.length
    ? ` ${bytes(known.reduce((a, b) => a + b, 0))}`
    : '';
  const [{ model }] = models;
  const name = beginning(visible(model), NAME_MOST);
  return models.length === 1
    ? `${name}${memory}`
    : `${trans._n('%1 model', '%1 models', models.length)}${memory}`;
}

function isRecent(at: string, now: number): boolean {
  const past = now - Date.parse(at);
  return past < OLD_MS;
}

function alarms(alerts: IStatus['alerts'], trans: TranslationBundle): string[] {
  const said: string[] = [];
  if (alerts.alert > 0) {
    said.push(trans._n('%1 alarm', '%1 alarms', alerts.alert));
  }
  if (alerts.warning > 0) {
    said.push(trans._n('%1 warning', '%1 warnings', alerts.warning));
  }
  return said;
}
