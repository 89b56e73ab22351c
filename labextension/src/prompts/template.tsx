import { TranslationBundle } from '@jupyterlab/translation';
import * as React from 'react';

import { LongText } from '../shared/long';
import { visible } from '../shared/visible';
import { messagesOf, stretchesOf } from './markers';

/** A template with its roles and variables marked. It is text and nothing else. */
export function Template(props: {
  trans: TranslationBundle;
  text: string;
}): React.JSX.Element {
  const { trans, text } = props;
  return (
    <div
      className="jp-LLMOps-template"
      role="group"
      aria-label={trans.__('Template')}
    >
      <LongText
        trans={trans}
        text={text}
        lines={40}
        characters={6000}
        code
        draw={shown =>
          messagesOf(shown).map((message, i) => (
            <span key={i} className="jp-LLMOps-template-message">
              {message.role && (
                <span className="jp-LLMOps-template-role">{message.role}</span>
              )}
              <span className="jp-LLMOps-template-text">
                <Marked text={message.text} />
              </span>
            </span>
          ))
        }
      />
    </div>
  );
}

function Marked(props: { text: string }): React.JSX.Element {
  return (
    <>
      {stretchesOf(props.text).map((stretch, i) =>
        stretch.kind === 'text' ? (
          <React.Fragment key={i}>{visible(stretch.text)}</React.Fragment>
        ) : (
          <mark key={i} className={`jp-LLMOps-template-${stretch.kind}`}>
            {visible(stretch.text)}
          </mark>
        )
      )}
    </>
  );
}
