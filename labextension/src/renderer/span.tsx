import { TranslationBundle } from '@jupyterlab/translation';
import * as React from 'react';

import { IScore, ISpan } from '../api';
import { LongText } from '../shared/long';
import { StatusBadge } from '../shared/standing';
import { beginning, visible } from '../shared/visible';
import { Attributes } from './attributes';
import { Figures } from './figures';
import { gathered } from './gathered';
import { Call, Messages } from './messages';
import { text } from './read';
import { Retrieval } from './retrieval';
import { Scores } from './scores';
import { Support } from './support';
import { Part, Value } from './text';
import { INode, subtree } from './tree';
import { Verdicts } from './verdicts';

/** Characters of a name, which may be as long as a text, in the heading, and where one points at it. */
const NAME_MOST = 120;
const TITLE_MOST = 1000;

/** The details of a span: what went in, what came out, what it rests on, what it took. */
export const SpanDetails = React.forwardRef<
  HTMLDivElement,
  {
    node: INode;
    nodes: readonly INode[];
    scores: readonly IScore[];
    trans: TranslationBundle;
  }
>((props, ref) => {
  const { node, nodes, scores, trans } = props;
  const { span } = node;
  const name = visible(span.name);
  const long = name.length > NAME_MOST;
  const found = React.useMemo(
    () => gathered(subtree(nodes, node)),
    [nodes, node]
  );
  const mine = scores.filter(
    score =>
      score.span_id === span.span_id ||
      (node.parent === null && node.at === 0 && score.span_id === null)
  );
  return (
    <div
      className="jp-LLMOps-span"
      role="region"
      aria-label={trans.__('Details of the span')}
      tabIndex={-1}
      ref={ref}
    >
      <h3>
        <bdi title={long ? beginning(name, TITLE_MOST) : undefined}>
          {beginning(name, NAME_MOST) || trans.__('(no name)')}
        </bdi>{' '}
        <StatusBadge trans={trans} status={span.status} />
      </h3>
      <Fault span={span} trans={trans} />
      <Figures span={span} trans={trans} />
      <Scores scores={mine} trans={trans} />
      <Support claims={found.claims} trans={trans} />
      <Retrieval searches={found.searches} trans={trans} />
      <Verdicts verdicts={found.verdicts} trans={trans} />
      <Work span={span} trans={trans} />
      <Messages
        title={trans.__('Output')}
        messages={span.output}
        reasoning={text(span.attributes['llmops.reasoning'])}
        trans={trans}
      />
      <Messages title={trans.__('Input')} messages={span.input} trans={trans} />
      <Attributes span={span} trans={trans} />
    </div>
  );
});
SpanDetails.displayName = 'SpanDetails';

function Fault(props: {
  span: ISpan;
  trans: TranslationBundle;
}): React.JSX.Element | null {
  const { span, trans } = props;
  if (!span.error_type && !span.error_message) {
    return null;
  }
  return (
    <Part title={trans.__('Error')}>
      <div className="jp-LLMOps-fault">
        <b>
          <bdi>{visible(span.error_type ?? '')}</bdi>
        </b>
        {span.error_message && (
          <LongText text={span.error_message} trans={trans} />
        )}
      </div>
    </Part>
  );
}

/** A tool's call, or a traced function's arguments and what it returned. */
function Work(props: {
  span: ISpan;
  trans: TranslationBundle;
}): React.JSX.Element | null {
  const { span, trans } = props;
  const { attributes } = span;
  const tool = text(attributes['gen_ai.tool.name']);
  const given = attributes['input.value'];
  const made = attributes['output.value'];
  return (
    <>
      {tool && (
        <Part title={trans.__('Tool')}>
          <Call
            name={tool}
            given={attributes['gen_ai.tool.call.arguments']}
            result={attributes['gen_ai.tool.call.result']}
            trans={trans}
          />
        </Part>
      )}
      {made !== undefined && (
        <Part title={trans.__('Returned')}>
          <Value value={made} trans={trans} />
        </Part>
      )}
      {given !== undefined && (
        <Part title={trans.__('Called with')}>
          <Value value={given} trans={trans} />
        </Part>
      )}
    </>
  );
}
