import { nullTranslator } from '@jupyterlab/translation';

import { IStatus } from '../../api';
import { statusWords } from '../words';

const trans = nullTranslator.load('llmops_jupyter');
const NOW = Date.parse('2026-01-02T12:00:00Z');
const nothing: IStatus = {
  models: [],
  last: null,
  alerts: { warning: 0, alert: 0 }
};
const model = (name: string, memory: number | null) => ({
  ...{ model: name, memory, process_id: 1 }
});
const say = (given: Partial<IStatus>) =>
  statusWords({ ...nothing, ...given }, trans, NOW);

test('nothing loaded, nothing run and no alarm say nothing', () => {
  expect(say({})).toBeNull();
});

test('a loaded model is named with its memory', () => {
  expect(say({ models: [model('smollm2', 412 * 2 ** 20)] })?.text).toBe(
    'smollm2 412 MB'
  );
  expect(say({ models: [model('smollm2', null)] })?.text).toBe('smollm2');
});

test('several models are counted, with their memory together', () => {
  const models = [model('a', 2 ** 30), model('b', 2 ** 30)];
  const said = say({ models });
  expect(said?.text).toBe('2 models 2 GB');
  expect(said?.title).toContain('a is loaded: 1 GB');
});

test('a speed counts while it is of now', () => {
  const last = (at: string) => ({ model: 'm', tokens_per_s: 38.26, at });
  expect(say({ last: last('2026-01-02T11:59:00Z') })?.text).toBe(
    '38.3 tokens/s'
  );
  expect(say({ last: last('2026-01-02T09:00:00Z') })).toBeNull();
  expect(say({ last: last('never') })).toBeNull();
});

test('alarms are told in words and are the state', () => {
  const said = say({ alerts: { warning: 1, alert: 2 } });
  expect(said).toMatchObject({ text: '2 alarms · 1 warning', state: 'alert' });
  expect(say({ alerts: { warning: 1, alert: 0 } })?.state).toBe('warning');
});
