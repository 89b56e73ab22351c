import { TranslationBundle } from '@jupyterlab/translation';
import * as React from 'react';

import { IMessage } from '../api';
import { LongText } from '../shared/long';
import { number } from '../shared/quantities';
import { visible } from '../shared/visible';
import { isObject, text } from './read';
import { Part, Value } from './text';

/** Messages that are shown before the rest is asked for: a long conversation is read from its end. */
const MOST = 20;
const ROLES = ['system', 'user', 'assistant', 'tool'];
const KNOWN = ['role', 'content', 'tool_calls', 'tool_call_id', 'reasoning'];

/** What went in or came out: roles, texts and calls of tools. */
export function Messages(props: {
  title: string;
  messages: readonly IMessage[];
  reasoning?: string;
  trans: TranslationBundle;
}): React.JSX.Element | null {
  const { title, messages, reasoning, trans } = props;
  const [all, setAll] = React.useState(false);
  if (!messages.length && !reasoning) {
    return null;
  }
  const from = all ? 0 : Math.max(0, messages.length - MOST);
  return (
    <Part title={title}>
      {from > 0 && (
        <button className="jp-LLMOps-link" onClick={() => setAll(true)}>
          {trans._n(
            'Show %1 earlier message',
            'Show %1 earlier messages',
            from
          )}
        </button>
      )}
      {reasoning && <Reasoning text={reasoning} trans={trans} />}
      <ol className="jp-LLMOps-messages">
        {messages.slice(from).map((message, at) => (
          <Message key={from + at} message={message} trans={trans} />
        ))}
      </ol>
    </Part>
  );
}

function Message(props: {
  message: IMessage;
  trans: TranslationBundle;
}): React.JSX.Element {
  const { message, trans } = props;
  const answers = text(message.tool_call_id);
  const more = Object.entries(message).filter(
    ([key, value]) => !KNOWN.includes(key) && value !== null && value !== ''
  );
  return (
    <li
      className="jp-LLMOps-message"
      data-role={ROLES.includes(message.role) ? message.role : undefined}
    >
      <div className="jp-LLMOps-role">
        <bdi>{visible(message.role)}</bdi>
        {answers && (
          <span className="jp-LLMOps-quiet">
            {' '}
            {trans.__('answers call %1', visible(answers))}
          </span>
        )}
      </div>
      {message.reasoning ? (
        <Reasoning text={text(message.reasoning)} trans={trans} />
      ) : null}
      {message.content && <LongText text={message.content} trans={trans} />}
      {message.tool_calls?.map((call, at) => (
        <Call
          key={at}
          name={call.name}
          id={call.id}
          given={call.arguments}
          trans={trans}
        />
      ))}
      {more.length > 0 && (
        <details>
          <summary>{trans.__('More of this message')}</summary>
          <Value value={Object.fromEntries(more)} trans={trans} />
        </details>
      )}
    </li>
  );
}

/** What a model thought before it answered: apart from the answer, and closed at first. */
function Reasoning(props: {
  text: string;
  trans: TranslationBundle;
}): React.JSX.Element {
  const { text: thought, trans } = props;
  return (
    <details className="jp-LLMOps-reasoning">
      <summary>
        {trans.__('Reasoning (%1 characters)', number(thought.length))}
      </summary>
      <LongText text={thought} trans={trans} />
    </details>
  );
}

/** A call of a tool with its arguments, and its result if it is known. */
export function Call(props: {
  name: string;
  id?: string;
  given: unknown;
  result?: unknown;
  trans: TranslationBundle;
}): React.JSX.Element {
  const { name, id, given, result, trans } = props;
  const empty = isObject(given) && !Object.keys(given).length;
  return (
    <div className="jp-LLMOps-call">
      <div>
        <span className="jp-LLMOps-quiet">{trans.__('calls')}</span>{' '}
        <code>
          <bdi>{visible(name)}</bdi>
        </code>
        {id && <span className="jp-LLMOps-quiet"> {visible(id)}</span>}
      </div>
      {empty || given === undefined ? (
        <div className="jp-LLMOps-quiet">{trans.__('without arguments')}</div>
      ) : (
        <Value value={given} trans={trans} />
      )}
      {result !== undefined && (
        <>
          <div className="jp-LLMOps-quiet">{trans.__('result')}</div>
          <Value value={result} trans={trans} />
        </>
      )}
    </div>
  );
}
