import '@testing-library/jest-dom';
import { act, render, screen } from '@testing-library/react';
import { Signal } from '@lumino/signaling';
import { Widget } from '@lumino/widgets';
import * as React from 'react';

import { ITrace, Topic } from '../../api';
import { Watched } from '../../watched';
import { useTrace } from '../followed';
import { TraceTab } from '../tab';
import { answered, span, trace, trans } from './made';

/** A workspace with one trace. */
class Fake {
  news = new Signal<this, ReadonlySet<Topic>>(this);
  changed = new Signal<this, void>(this);
  fault: Error | null = null;
  leases = 0;
  trace = jest.fn(async (): Promise<ITrace> => answered());
  client: { workspace: string; trace: Fake['trace'] } | null = {
    ...{ workspace: 'w1', trace: this.trace }
  };

  look() {
    this.leases += 1;
    return { isDisposed: false, dispose: () => (this.leases -= 1) };
  }

  refresh = jest.fn();
}

const NONE = 'none';
const traces = new Set<Topic>(['traces']);

function Shown(props: { fake: Fake }): React.JSX.Element {
  const watched = props.fake as unknown as Watched;
  const { trace: shown, fault } = useTrace(watched, '', 't1');
  return <p>{fault ? String(fault) : (shown?.spans.length ?? NONE)}</p>;
}

async function pass(time: number): Promise<void> {
  await act(async () => {
    await jest.advanceTimersByTimeAsync(time);
  });
}

beforeEach(() => {
  jest.useFakeTimers();
});

afterEach(() => {
  jest.useRealTimers();
});

test('a running trace is asked for at each news, one that has ended less often', async () => {
  const fake = new Fake();
  fake.trace.mockResolvedValue(trace([span('a', { status: 'open' })]));
  render(<Shown fake={fake} />);
  await pass(0);
  fake.news.emit(traces);
  await pass(10);
  expect(fake.trace).toHaveBeenCalledTimes(2);
  fake.trace.mockResolvedValue(answered());
  fake.news.emit(traces);
  await pass(10);
  expect(screen.getByText('6')).toBeInTheDocument();
  fake.news.emit(traces);
  fake.news.emit(traces);
  await pass(1000);
  expect(fake.trace).toHaveBeenCalledTimes(3);
  await pass(5000);
  expect(fake.trace).toHaveBeenCalledTimes(4);
});

test('it waits for a workspace, and tells why there is none', async () => {
  const fake = new Fake();
  const { client } = fake;
  fake.client = null;
  render(<Shown fake={fake} />);
  await pass(0);
  expect(screen.getByText('none')).toBeInTheDocument();
  fake.fault = new Error('not reached');
  act(() => fake.changed.emit(undefined));
  expect(screen.getByText('Error: not reached')).toBeInTheDocument();
  fake.client = client;
  act(() => fake.changed.emit(undefined));
  await pass(0);
  expect(screen.getByText('6')).toBeInTheDocument();
});

test('a fault keeps what was shown until it is gone', async () => {
  const fake = new Fake();
  render(<Shown fake={fake} />);
  await pass(0);
  fake.trace.mockRejectedValue(new Error('gone'));
  fake.news.emit(traces);
  await pass(6000);
  expect(screen.getByText('Error: gone')).toBeInTheDocument();
});

test('a tab looks at the store only while it is seen, and is named after its prompt', async () => {
  const fake = new Fake();
  const tab = new TraceTab(
    ...([fake as unknown as Watched, trans, 't1', ''] as const),
    async () => ''
  );
  act(() => Widget.attach(tab, document.body));
  await pass(50);
  expect(tab.title.label).toBe('support@3');
  expect(fake.leases).toBe(1);
  tab.hide();
  expect(fake.leases).toBe(0);
  tab.show();
  expect(fake.leases).toBe(1);
  act(() => tab.dispose());
  expect(fake.leases).toBe(0);
});
