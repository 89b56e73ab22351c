import '@testing-library/jest-dom';

import {
  act,
  cleanup,
  fireEvent,
  render,
  screen
} from '@testing-library/react';
import * as React from 'react';

import { IAnchor, IVirtualListProps, VirtualList } from '../virtual';
import { sized } from './sized';

let unsized: () => void;
beforeEach(() => {
  unsized = sized(200, 20);
});
afterEach(() => {
  cleanup();
  unsized();
});

const LABEL = 'Things';

interface ITestProps extends Partial<IVirtualListProps> {
  keys: string[];
}

function List({ keys, ...more }: ITestProps): React.JSX.Element {
  const [active, setActive] = React.useState<string | null>(null);
  const places = React.useMemo(
    () => new Map(keys.map((key, i) => [key, i])),
    [keys]
  );
  return (
    <VirtualList
      label={LABEL}
      count={keys.length}
      total={keys.length}
      revision={0}
      keyOf={i => keys[i] ?? ''}
      indexOf={key => places.get(key) ?? -1}
      row={i => keys[i]}
      estimate={30}
      active={active}
      onActive={setActive}
      onOpen={() => undefined}
      {...more}
    />
  );
}

const named = (count: number, first = 0) =>
  Array.from({ length: count }, (_, i) => `k${first + i}`);
const box = () => screen.getByRole('listbox');
const options = () => screen.getAllByRole('option');
const active = () =>
  document.getElementById(box().getAttribute('aria-activedescendant') ?? '?');

function scroll(top: number): void {
  box().scrollTop = top;
  fireEvent.scroll(box());
}

it('has a bounded number of rows in the document, however long the list is', () => {
  render(<List keys={named(100_000)} />);
  for (const top of [0, 1_000, 123_456, 1_999_800]) {
    scroll(top);
    expect(options().length).toBeLessThan(56);
    const first = Math.floor(top / 20);
    for (let i = first; i < first + 10; i++) {
      expect(screen.getByText(`k${i}`)).toBeInTheDocument();
    }
  }
});

it('measures how high a row is', () => {
  render(<List keys={named(10)} />);
  expect(screen.getByText('k3')).toHaveStyle({ 'inset-block-start': '60px' });
});

it('tells how many rows there are and which one each is', () => {
  render(<List keys={named(50)} />);
  expect(options()[4]).toHaveAttribute('aria-posinset', '5');
  expect(options()[4]).toHaveAttribute('aria-setsize', '50');
});

it('says that the number of rows is unknown while it is', () => {
  render(<List keys={named(50)} total={null} />);
  expect(options()[0]).toHaveAttribute('aria-setsize', '-1');
});

it('moves with the keyboard and shows where it is', () => {
  render(<List keys={named(1000)} />);
  const press = (key: string) => fireEvent.keyDown(box(), { key });
  press('ArrowDown');
  expect(active()).toHaveTextContent(/^k0$/);
  press('ArrowDown');
  expect(active()).toHaveTextContent(/^k1$/);
  press('PageDown');
  expect(active()).toHaveTextContent(/^k10$/);
  press('End');
  expect(active()).toHaveTextContent(/^k999$/);
  expect(box().scrollTop).toBe(1000 * 20 - 200);
  press('Home');
  expect(active()).toHaveTextContent(/^k0$/);
  expect(box().scrollTop).toBe(0);
});

it('keeps the active row in the document when it is scrolled out of view', () => {
  render(<List keys={named(1000)} />);
  fireEvent.keyDown(box(), { key: 'Home' });
  scroll(10_000);
  expect(active()).toHaveTextContent(/^k0$/);
});

it('opens with Enter and with a click', () => {
  const onOpen = jest.fn();
  render(<List keys={named(5)} onOpen={onOpen} />);
  fireEvent.keyDown(box(), { key: 'End' });
  fireEvent.keyDown(box(), { key: 'Enter' });
  fireEvent.click(screen.getByText('k2'));
  expect(onOpen.mock.calls).toEqual([['k4'], ['k2']]);
});

it('marks with Space, and as it goes with Shift', () => {
  const onMark = jest.fn();
  render(<List keys={named(5)} onMark={onMark} isMarked={() => false} />);
  expect(box()).toHaveAttribute('aria-multiselectable', 'true');
  fireEvent.keyDown(box(), { key: 'Home' });
  fireEvent.keyDown(box(), { key: ' ' });
  fireEvent.keyDown(box(), { key: 'ArrowDown', shiftKey: true });
  expect(onMark.mock.calls).toEqual([
    ['k0', false],
    ['k0', false],
    ['k1', true]
  ]);
});

it('leaves keys that are not its own to others', () => {
  const onKeyDown = jest.fn();
  render(<List keys={named(5)} onKeyDown={onKeyDown} />);
  fireEvent.keyDown(box(), { key: 'x' });
  fireEvent.keyDown(box(), { key: 'ArrowDown', ctrlKey: true });
  expect(onKeyDown).toHaveBeenCalledTimes(2);
  expect(active()).toBeNull();
});

it('keeps what is in view where it is when rows come on top', () => {
  const { rerender } = render(<List keys={named(100)} revision={1} />);
  scroll(405);
  rerender(<List keys={['new1', 'new2', ...named(100)]} revision={2} />);
  expect(box().scrollTop).toBe(445);
});

it('lets new rows in at the very top', () => {
  const { rerender } = render(<List keys={named(100)} revision={1} />);
  rerender(<List keys={['new', ...named(100)]} revision={2} />);
  expect(box().scrollTop).toBe(0);
  expect(screen.getByText('new')).toBeInTheDocument();
});

it('tells what stands at its top, and begins there again', () => {
  let told: IAnchor | null = null;
  const onAnchor = (anchor: IAnchor | null) => {
    told = anchor;
  };
  const { unmount } = render(<List keys={named(100)} onAnchor={onAnchor} />);
  scroll(405);
  expect(told).toEqual({ key: 'k20', offset: 5 });
  unmount();
  render(<List keys={['new', ...named(100)]} anchor={told} />);
  expect(box().scrollTop).toBe(425);
  scroll(0);
});

it('tells which rows are in view', () => {
  const onWindow = jest.fn();
  render(<List keys={named(100)} onWindow={onWindow} />);
  expect(onWindow).toHaveBeenLastCalledWith({ first: 0, end: 10 });
  act(() => scroll(410));
  expect(onWindow).toHaveBeenLastCalledWith({ first: 20, end: 31 });
});
