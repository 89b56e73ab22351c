import '@testing-library/jest-dom';
import { fireEvent, render, screen } from '@testing-library/react';
import { nullTranslator } from '@jupyterlab/translation';
import { Signal } from '@lumino/signaling';
import * as React from 'react';

import { IHost } from '../../host';
import { Watched } from '../../watched';
import { Panel } from '../panel';

const trans = nullTranslator.load('jupyterlab');

test('another workspace begins with a whole section: what was shown is not in it', () => {
  const watched = {
    use: jest.fn(),
    client: null,
    fault: null,
    asked: true,
    workspaces: [
      { id: 'w1', path: 'a/.llmops/llmops.db' },
      { id: 'w2', path: 'b/.llmops/llmops.db' }
    ],
    changed: new Signal<object, void>({})
  };
  const onPlace = jest.fn();
  render(
    <Panel
      watched={watched as unknown as Watched}
      host={{} as IHost}
      trans={trans}
      place={{ section: 'prompts', item: 'capital@2' }}
      onPlace={onPlace}
    />
  );
  fireEvent.change(screen.getByLabelText('Workspace'), {
    target: { value: 'w2' }
  });
  expect(watched.use).toHaveBeenCalledWith('w2');
  expect(onPlace).toHaveBeenCalledWith({ section: 'prompts', item: '' });
});
