import '@testing-library/jest-dom';
import { JupyterFrontEnd } from '@jupyterlab/application';
import { MimeModel } from '@jupyterlab/rendermime';
import { act, fireEvent, screen } from '@testing-library/react';
import { Widget } from '@lumino/widgets';

import { TRACE_MIME, TraceRenderer } from '../../plugins/renderer';
import { answered, trans } from './made';

const execute = jest.fn();
const app = {
  commands: { hasCommand: () => true, execute }
} as unknown as JupyterFrontEnd;

async function rendered(data: unknown): Promise<TraceRenderer> {
  const shown = new TraceRenderer(app, trans);
  Widget.attach(shown, document.body);
  await act(async () => {
    await shown.renderModel(
      new MimeModel({ data: { [TRACE_MIME]: data as never }, trusted: false })
    );
  });
  return shown;
}

test('an output that nobody trusts is shown', async () => {
  const shown = await rendered(answered());
  expect(await screen.findByRole('treegrid')).toBeInTheDocument();
  act(() => shown.dispose());
});

test.each([null, 5, 'text', {}, { spans: 3 }, [[]]])(
  '%p is told to be no trace, and nothing is thrown',
  async data => {
    const shown = await rendered(data);
    expect(await screen.findByRole('status')).toHaveTextContent(
      'This output is no trace'
    );
    act(() => shown.dispose());
  }
);

test('an output that changes is shown anew in the same place', async () => {
  const shown = await rendered({});
  await act(async () => {
    await shown.renderModel(
      new MimeModel({ data: { [TRACE_MIME]: answered() as never } })
    );
  });
  expect(await screen.findByRole('treegrid')).toBeInTheDocument();
  expect(shown.widgets).toHaveLength(1);
  act(() => shown.dispose());
});

test('a cell that is gone is told in a sentence', async () => {
  execute.mockResolvedValue(false);
  const shown = await rendered(answered());
  fireEvent.click(await screen.findByText(/^Open shop.ipynb/));
  expect(await screen.findByRole('alert')).toHaveTextContent('shop.ipynb');
  act(() => shown.dispose());
});

test('an output that is closed while its code is fetched stays empty', async () => {
  const shown = new TraceRenderer(app, trans);
  const done = shown.renderModel(new MimeModel({ data: {} }));
  act(() => shown.dispose());
  await expect(done).resolves.toBeUndefined();
});
