import '@testing-library/jest-dom';

import { cleanup, render } from '@testing-library/react';
import * as React from 'react';

import { messagesOf, stretchesOf } from '../markers';
import { Template } from '../template';
import { expectInert, failOnComplaints, HOSTILE, trans } from './stand_ins';

failOnComplaints();
afterEach(cleanup);

describe('messages', () => {
  it('are split at role markers where the first line is one', () => {
    expect(
      messagesOf('\nsystem: Be brief.\nAlways.\nuser: {{ question }}\n')
    ).toEqual([
      { role: 'system', text: 'Be brief.\nAlways.' },
      { role: 'user', text: '{{ question }}' }
    ]);
  });

  it('are one without a role where the first line is no marker', () => {
    expect(messagesOf('Hello\nuser: no marker\n')).toEqual([
      { role: '', text: 'Hello\nuser: no marker' }
    ]);
  });

  it('are not split at an escaped marker', () => {
    expect(messagesOf('user: a\n\\user: b')).toEqual([
      { role: 'user', text: 'a\n\\user: b' }
    ]);
  });
});

describe('stretches', () => {
  const kinds = (text: string) => stretchesOf(text).map(s => [s.kind, s.text]);

  it('are variables, statements and text', () => {
    expect(kinds('a {{ x }}{% if y %}b{% endif %} }} c')).toEqual([
      ['text', 'a '],
      ['variable', '{{ x }}'],
      ['statement', '{% if y %}'],
      ['text', 'b'],
      ['statement', '{% endif %}'],
      ['text', ' }} c']
    ]);
  });

  it('have no variable between raw and endraw', () => {
    expect(kinds('{% raw %}{{ x }}{%- endraw -%}{{ y }}')).toEqual([
      ['statement', '{% raw %}'],
      ['text', '{{ x }}'],
      ['statement', '{%- endraw -%}'],
      ['variable', '{{ y }}']
    ]);
  });

  it.each(['{{ open', '{% open', '{{ {% }}', '{% raw %}{{ x', '', '}} %}'])(
    'of %p hold all of its text',
    text => {
      expect(
        stretchesOf(text)
          .map(s => s.text)
          .join('')
      ).toBe(text);
    }
  );

  it('of a megabyte of open braces are found in a moment', () => {
    for (const mark of ['{{', '{%', '{{{%', '{% raw %}', '{%   ']) {
      const text = mark.repeat(1_000_000 / mark.length);
      const began = performance.now();
      stretchesOf(text);
      expect(performance.now() - began).toBeLessThan(2000);
    }
  });
});

it('shows roles and variables marked, and the text as it is', () => {
  const { container } = render(
    <Template
      trans={trans}
      text={'system: Be brief.\nuser: {{ question }} <b>now</b>\n'}
    />
  );
  expect(
    [...container.querySelectorAll('.jp-LLMOps-template-role')].map(
      role => role.textContent
    )
  ).toEqual(['system', 'user']);
  expect(
    container.querySelector('mark.jp-LLMOps-template-variable')
  ).toHaveTextContent('{{ question }}');
  expect(container.querySelector('b')).toBeNull();
  expect(container).toHaveTextContent('<b>now</b>');
});

it('runs nothing of a hostile template', () => {
  const { container } = render(
    <Template trans={trans} text={`user: {{ ${HOSTILE} }} ${HOSTILE}`} />
  );
  expectInert(container);
});
