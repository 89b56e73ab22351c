import { TranslationBundle } from '@jupyterlab/translation';
import * as React from 'react';

import { IPrompt } from '../api';
import { IHost } from '../host';
import { ISectionProps } from '../panel/sections';
import { Answer } from '../shared/answer';
import { useArrival } from '../shared/arrival';
import { useAsked, useClient } from '../shared/asked';
import { visible } from '../shared/visible';
import { Watched } from '../watched';
import { Aliases } from './aliases';
import { Changes } from './changes';
import { History } from './history';
import { useMoves } from './moves';
import { IPromptPlace, neighbours, versionAt } from './place';
import { Version } from './version';

interface IDetailProps {
  watched: Watched;
  host: IHost;
  trans: TranslationBundle;
  place: IPromptPlace;
  go: ISectionProps['go'];
  /** Whether to put the focus on its heading: somebody came from the list. */
  focus: boolean;
  onBack: () => void;
}

/** One prompt with its versions. */
export function Detail(props: IDetailProps): React.JSX.Element {
  const { watched, trans, place, focus, onBack } = props;
  const { name } = place;
  const asked = useAsked(watched, ['prompts'], client => client.prompt(name), [
    name
  ]);
  const heading = useArrival<HTMLHeadingElement>(focus);
  return (
    <article className="jp-LLMOps-prompt">
      <button className="jp-LLMOps-link jp-LLMOps-back" onClick={onBack}>
        {trans.__('‹ All prompts')}
      </button>
      <h3 ref={heading} tabIndex={-1}>
        {visible(name)}
      </h3>
      <Answer trans={trans} asked={asked}>
        {prompt => <Shown {...props} prompt={prompt} again={asked.again} />}
      </Answer>
    </article>
  );
}

function Shown(
  props: IDetailProps & { prompt: IPrompt; again: () => void }
): React.JSX.Element | null {
  const { watched, host, trans, place, go, prompt, again } = props;
  const client = useClient(watched);
  const moves = useMoves({ client, host, trans, prompt, again });
  const found = versionAt(prompt, place.selector);
  const version = found ?? prompt.versions[0];
  if (!version) {
    return null;
  }
  const show = (wanted: number) => go('prompts', `${prompt.name}@${wanted}`);
  const pair = place.pair ?? neighbours(prompt, version.version);
  const changes = pair && (
    <Changes
      watched={watched}
      trans={trans}
      prompt={prompt}
      pair={pair}
      onPick={(a, b) => go('prompts', `${prompt.name}@${a}..${b}`)}
    />
  );
  return (
    <>
      {!found && (
        <p role="status">
          {trans.__(
            'There is no version %1; this is version %2.',
            visible(place.selector),
            version.version
          )}
        </p>
      )}
      <Aliases trans={trans} prompt={prompt} moves={moves} onShow={show} />
      <History
        trans={trans}
        prompt={prompt}
        shown={version.version}
        onShow={show}
      />
      {place.pair && changes}
      <Version
        key={version.version}
        trans={trans}
        host={host}
        prompt={prompt}
        version={version}
        moves={moves}
        onTraces={reference => go('traces', `prompt:${reference}`)}
      />
      {!place.pair && changes}
    </>
  );
}
