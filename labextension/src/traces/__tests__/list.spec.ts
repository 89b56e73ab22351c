import { ApiError } from '../../request';
import { FAR, PAGE, TraceList } from '../list';
import { FakeStore, idOf } from './stand_ins';

const settled = () => new Promise(done => setTimeout(done, 0));

async function listed(store: FakeStore, pages = 1): Promise<TraceList> {
  const list = new TraceList(store, {});
  for (let i = 0; i < pages; i++) {
    await list.more();
  }
  return list;
}

const ids = (list: TraceList): string[] =>
  Array.from({ length: list.count }, (_, i) => list.keyOf(i));
const inStore = (store: FakeStore, count = store.count): string[] =>
  store.rows.slice(0, count).map(one => one.trace_id);

/** Let everything that is held back come, and what it leads to. */
async function release(store: FakeStore): Promise<void> {
  const held = store.held ?? [];
  store.held = null;
  held.forEach(go => go());
  await settled();
}

it('asks for the first page only, until more is in view', async () => {
  const store = new FakeStore(1000);
  const list = await listed(store);
  list.show(0, 10);
  await settled();
  expect(store.asked).toHaveLength(1);
  expect(list.count).toBe(PAGE);
  list.show(90, 100);
  await settled();
  expect(list.count).toBe(2 * PAGE);
});

it('comes to the end of 100,000 traces without a gap or a double', async () => {
  const store = new FakeStore(100_000);
  const list = await listed(store);
  while (list.isMore) {
    await list.more();
    list.show(list.count - 10, list.count);
    await settled();
  }
  expect(list.count).toBe(100_000);
  expect(new Set(ids(list)).size).toBe(100_000);
  expect(list.keyOf(0)).toBe(idOf(100_000));
  expect(list.keyOf(99_999)).toBe(idOf(1));
  expect(list.indexOf(idOf(50_000))).toBe(50_000);
}, 60_000);

it('lets go of rows far from the view and gets them again near it', async () => {
  const store = new FakeStore(5000);
  const list = await listed(store, 50);
  list.show(4980, 5000);
  expect(list.row(0)).toBeNull();
  expect(list.keyOf(0)).toBe(idOf(5000));
  expect(list.row(4990 - FAR / 2)).not.toBeNull();
  store.asked.length = 0;
  list.show(0, 10);
  await settled();
  expect(list.row(0)?.preview).toBe('answer 5000');
  expect(list.count).toBe(5000);
  expect(store.asked).toHaveLength(2);
});

it('puts new rows in front and asks for the first page only', async () => {
  const store = new FakeStore(1000);
  const list = await listed(store, 3);
  const kept = list.row(5);
  store.asked.length = 0;
  store.add();
  store.add();
  await list.refresh();
  expect(store.asked.map(q => q.cursor)).toEqual([undefined]);
  expect(ids(list)).toEqual(inStore(store, 302));
  expect(list.row(7)).toBe(kept);
  expect([...list.added]).toEqual([idOf(1002), idOf(1001)]);
});

it('goes on to the end after many merges', async () => {
  const store = new FakeStore(500);
  const list = await listed(store);
  for (let i = 0; i < 30; i++) {
    for (let n = 0; n < 17; n++) {
      store.add();
    }
    await list.refresh();
    if (i % 7 === 0) {
      await list.more();
    }
    list.show(0, 10);
    await settled();
  }
  while (list.isMore) {
    await list.more();
  }
  expect(ids(list)).toEqual(inStore(store));
  list.show(list.count - 10, list.count);
  list.show(500, 510);
  await settled();
  expect(list.row(505)?.trace_id).toBe(list.keyOf(505));
});

it('shows a changed row in place', async () => {
  const store = new FakeStore(200);
  store.change(200, { status: 'open', duration_s: null });
  const list = await listed(store);
  store.change(200, { status: 'ok', duration_s: 2 });
  await list.refresh();
  expect(list.row(0)).toMatchObject({ status: 'ok', duration_s: 2 });
  expect(list.count).toBe(PAGE);
});

it('looks again at open rows in view that are not on the first page', async () => {
  const store = new FakeStore(500);
  store.change(350, { status: 'open' });
  const list = await listed(store, 3);
  list.show(145, 155);
  store.change(350, { status: 'ok' });
  await list.refresh();
  await settled();
  expect(list.find(idOf(350))?.status).toBe('ok');
  expect(ids(list)).toEqual(inStore(store, 300));
});

it('takes away rows that are gone from the first page', async () => {
  const store = new FakeStore(300);
  const list = await listed(store, 2);
  store.remove(295);
  store.remove(300);
  await list.refresh();
  expect(ids(list)).toEqual(inStore(store, 198));
});

it('keeps no row twice and loses none when traces come between two pages', async () => {
  const store = new FakeStore(400);
  const list = await listed(store);
  store.held = [];
  const growing = list.more();
  const refreshing = list.refresh();
  store.add();
  await release(store);
  await Promise.all([growing, refreshing]);
  await list.refresh();
  while (list.isMore) {
    await list.more();
  }
  expect(ids(list)).toEqual(inStore(store));
});

it('becomes empty when all traces are gone, and fills again', async () => {
  const store = new FakeStore(5);
  const list = await listed(store);
  store.rows = [];
  await list.refresh();
  expect(list.count).toBe(0);
  expect(list.isMore).toBe(false);
  store.add();
  await list.refresh();
  expect(list.count).toBe(1);
});

it('begins anew only when asked, where the new rows do not reach the old ones', async () => {
  const store = new FakeStore(1000);
  const list = await listed(store, 2);
  const before = ids(list);
  for (let i = 0; i < 2000; i++) {
    store.add();
  }
  await list.refresh();
  expect(list.isOutdated).toBe(true);
  expect(ids(list)).toEqual(before);
  await list.reload();
  expect(list.isOutdated).toBe(false);
  expect(ids(list)).toEqual(inStore(store, PAGE));
});

it('finds where several pages of new rows meet the old ones', async () => {
  const store = new FakeStore(1000);
  const list = await listed(store, 2);
  for (let i = 0; i < 250; i++) {
    store.add();
  }
  await list.refresh();
  expect(list.isOutdated).toBe(false);
  expect(ids(list)).toEqual(inStore(store, 450));
});

it('drops what comes after it rests, and awaits nothing more', async () => {
  const store = new FakeStore(300);
  const list = await listed(store);
  store.held = [];
  const growing = list.more();
  list.rest();
  expect(store.asked[1].signal?.aborted).toBe(true);
  await release(store);
  await growing;
  await settled();
  expect(list.count).toBe(PAGE);
  expect(list.fault).toBeNull();
  expect(list.isBusy).toBe(false);
  expect(store.asked).toHaveLength(2);
});

it('gives up rows that were asked for and are out of view again', async () => {
  const store = new FakeStore(5000);
  const list = await listed(store, 50);
  list.show(4980, 5000);
  store.held = [];
  list.show(0, 10);
  const asked = store.asked[store.asked.length - 1];
  list.show(4980, 5000);
  expect(asked.signal?.aborted).toBe(true);
  await release(store);
  expect(list.row(0)).toBeNull();
  list.show(0, 10);
  await settled();
  expect(list.row(0)).not.toBeNull();
});

it('tells of a fault, asks no more by itself, and goes on when told', async () => {
  const store = new FakeStore(300);
  const list = await listed(store);
  store.faults = [new ApiError(500, 'Server', 'no')];
  list.show(90, 100);
  await settled();
  expect(list.fault).toBeInstanceOf(ApiError);
  const asked = store.asked.length;
  list.show(90, 100);
  await settled();
  expect(store.asked).toHaveLength(asked);
  await list.resume();
  await settled();
  expect(list.fault).toBeNull();
  expect(list.count).toBe(2 * PAGE);
});

it('refreshes one at a time and once more for what was said meanwhile', async () => {
  const store = new FakeStore(10);
  const list = await listed(store);
  store.held = [];
  const first = list.refresh();
  void list.refresh();
  void list.refresh();
  store.add();
  await release(store);
  await first;
  expect(store.asked).toHaveLength(3);
  expect(list.count).toBe(11);
});
