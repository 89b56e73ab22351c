import { nullTranslator } from '@jupyterlab/translation';
import { Signal } from '@lumino/signaling';

import { Topic } from '../../api';
import { Watched } from '../../watched';
import { StatusItem } from '../item';

const trans = nullTranslator.load('llmops_jupyter');

/** A workspace whose status is counted as it is asked for. */
class Fake {
  news = new Signal<this, ReadonlySet<Topic>>(this);
  changed = new Signal<this, void>(this);
  leases = 0;
  status = jest.fn(async () => ({
    models: [{ model: 'smollm2', memory: null, process_id: 1 }],
    last: null,
    alerts: { warning: 0, alert: 0 }
  }));
  client: { status: Fake['status'] } | null = { status: this.status };

  look() {
    this.leases += 1;
    return { isDisposed: false, dispose: () => (this.leases -= 1) };
  }
}

async function settled(condition: () => boolean): Promise<void> {
  for (let turn = 0; turn < 200 && !condition(); turn += 1) {
    await new Promise(resolve => setTimeout(resolve, 5));
  }
  expect(condition()).toBe(true);
}

function made() {
  const fake = new Fake();
  const clicked = jest.fn();
  const item = new StatusItem(fake as unknown as Watched, trans, clicked);
  return { fake, item, clicked, text: () => item.node.textContent };
}

test('it asks nothing until it is to look, and shows what it is told then', async () => {
  const { fake, item, text } = made();
  fake.news.emit(new Set<Topic>(['traces']));
  expect(fake.status).not.toHaveBeenCalled();
  expect(item.shows).toBe(false);
  item.looking = true;
  await settled(() => item.shows);
  expect(text()).toBe('smollm2');
  expect(fake.leases).toBe(1);
  item.dispose();
});

test('when it stops looking it gives back its lease and shows nothing', async () => {
  const { fake, item, text } = made();
  item.looking = true;
  await settled(() => item.shows);
  item.looking = false;
  expect([fake.leases, item.shows, text()]).toEqual([0, false, '']);
  item.dispose();
});

test('news of other sections asks for nothing', async () => {
  const { fake, item } = made();
  item.looking = true;
  await settled(() => item.shows);
  const before = fake.status.mock.calls.length;
  fake.news.emit(new Set<Topic>(['prompts']));
  fake.news.emit(new Set<Topic>(['models']));
  await settled(() => fake.status.mock.calls.length > before);
  expect(fake.status.mock.calls.length).toBe(before + 1);
  item.dispose();
});

test('a fault takes away what may no longer hold', async () => {
  const { fake, item } = made();
  item.looking = true;
  await settled(() => item.shows);
  fake.status.mockRejectedValue(new Error('down'));
  fake.news.emit(new Set<Topic>(['models']));
  await settled(() => !item.shows);
  item.dispose();
});

test('a click is passed on, and nothing is left after the end', async () => {
  const { fake, item, clicked } = made();
  item.looking = true;
  item.node.querySelector('button')?.click();
  expect(clicked).toHaveBeenCalledTimes(1);
  item.dispose();
  expect(fake.leases).toBe(0);
  const before = fake.status.mock.calls.length;
  fake.news.emit(new Set<Topic>(['models']));
  expect(fake.status.mock.calls.length).toBe(before);
});
