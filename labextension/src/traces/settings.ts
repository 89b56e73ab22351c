import { TranslationBundle } from '@jupyterlab/translation';

import { ISpan } from '../api';
import { isNumber } from '../shared/points';

/** A setting of a call: its option on a magic line (null where there is none), its name in Python, its value. */
export interface ISetting {
  flag: string | null;
  name: string;
  value: unknown;
}

/** Sampling settings as attributes of the span of a model's call. */
const SAMPLING: readonly [attribute: string, flag: string, name: string][] = [
  ['gen_ai.request.temperature', '--temperature', 'temperature'],
  ['gen_ai.request.max_tokens', '--max-tokens', 'max_tokens'],
  ['gen_ai.request.top_k', '--top-k', 'top_k'],
  ['gen_ai.request.top_p', '--top-p', 'top_p'],
  ['llmops.request.min_p', '--min-p', 'min_p'],
  ['llmops.request.repeat_penalty', '--repeat-penalty', 'repeat_penalty'],
  ['llmops.request.logprobs', '--logprobs', 'logprobs']
];

/** Those that stand in a trace only where they do something, but that a version may remember from another run. */
const PENALTIES: readonly [attribute: string, flag: string, name: string][] = [
  [
    'gen_ai.request.frequency_penalty',
    '--frequency-penalty',
    'frequency_penalty'
  ],
  ['gen_ai.request.presence_penalty', '--presence-penalty', 'presence_penalty']
];

/** What a prompt with a chain of thought stops at, beside the stops that were asked for. */
const REASONED = 'Answer:';

/**
 * The settings of a call, from the spans of it: `root` is the whole interaction, `chat` the call of the model.
 *
 * What cannot be taken over is told in `missing`.
 */
export function settingsOf(
  root: ISpan,
  chat: ISpan | undefined,
  trans: TranslationBundle
): { settings: ISetting[]; missing: string[] } {
  const found: ISetting[] = [];
  const missing: string[] = [];
  const model = chat?.model || root.model;
  if (model) {
    found.push({ flag: '-m', name: 'model', value: model });
  } else {
    missing.push(trans.__('Its model is not in the trace.'));
  }
  if (chat && isNumber(chat.attributes['gen_ai.request.temperature'])) {
    found.push(
      ...sampling(chat, root.prompt !== ''),
      ...stops(chat),
      ...rare(chat)
    );
  } else {
    missing.push(
      trans.__('Its settings are not in the trace: those of the last run hold.')
    );
  }
  const seed =
    root.seed ?? chat?.seed ?? root.attributes['gen_ai.request.seed'];
  if (isNumber(seed)) {
    found.push({ flag: '--seed', name: 'seed', value: seed });
  }
  found.push(...adapters(chat));
  if (chat?.attributes['llmops.request.exact'] === true) {
    found.push({ flag: '--exact', name: 'exact', value: true });
  }
  const guard = root.attributes['llmops.guard.policy'];
  if (typeof guard === 'string' && guard) {
    found.push({ flag: '--guard', name: 'guard', value: guard });
  }
  return { settings: found, missing: [...missing, ...lost(root, chat, trans)] };
}

function sampling(chat: ISpan, isVersion: boolean): ISetting[] {
  const there = SAMPLING.flatMap(([attribute, flag, name]) => {
    const value = chat.attributes[attribute];
    return isNumber(value) ? [{ flag, name, value }] : [];
  });
  const penalties = PENALTIES.flatMap(([attribute, flag, name]) => {
    const value = chat.attributes[attribute];
    const set = isNumber(value);
    return set || isVersion ? [{ flag, name, value: set ? value : 0 }] : [];
  });
  return [...there, ...penalties];
}

function stops(chat: ISpan): ISetting[] {
  const given = chat.attributes['gen_ai.request.stop_sequences'];
  const texts = Array.isArray(given)
    ? given.filter((one): one is string => typeof one === 'string')
    : [];
  const last = [...chat.input].reverse().find(m => m.role === 'user');
  if (
    texts[texts.length - 1] === REASONED &&
    String(last?.content).includes(`"${REASONED}"`)
  ) {
    texts.pop();
  }
  return texts.length ? [{ flag: '--stop', name: 'stop', value: texts }] : [];
}

/** Settings that only Python can give. */
function rare(chat: ISpan): ISetting[] {
  const found: ISetting[] = [];
  const window = chat.attributes['llmops.request.penalty_window'];
  if (isNumber(window)) {
    found.push({ flag: null, name: 'penalty_window', value: window });
  }
  const bias = chat.attributes['llmops.request.logit_bias'];
  if (Array.isArray(bias) && bias.length) {
    found.push({ flag: null, name: 'logit_bias', value: bias });
  }
  return found;
}

function adapters(chat: ISpan | undefined): ISetting[] {
  const given = chat?.attributes['llmops.request.adapters'];
  if (!Array.isArray(given)) {
    return [];
  }
  const pairs = given.flatMap(pair =>
    Array.isArray(pair) && typeof pair[0] === 'string' && isNumber(pair[1])
      ? [`${pair[0]}:${pair[1]}`]
      : []
  );
  return pairs.length
    ? [{ flag: '--adapter', name: 'adapters', value: pairs }]
    : [];
}

/** What of a call a cell cannot bring back. */
function lost(
  root: ISpan,
  chat: ISpan | undefined,
  trans: TranslationBundle
): string[] {
  const found: string[] = [];
  if (chat?.attributes['gen_ai.tool.definitions']) {
    found.push(
      trans.__(
        'It had tools, which are functions of the notebook: name them with --tools.'
      )
    );
  }
  if (root.session && root.prompt) {
    found.push(
      trans.__(
        'It was a turn of a conversation: the earlier ones are not sent.'
      )
    );
  }
  return found;
}
