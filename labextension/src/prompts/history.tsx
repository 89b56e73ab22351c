import { TranslationBundle } from '@jupyterlab/translation';
import * as React from 'react';

import { IPrompt, IPromptVersion } from '../api';
import { Pager, usePages } from '../shared/pager';
import { ago, when, number } from '../shared/quantities';
import { useRoving } from '../shared/roving';
import { visible } from '../shared/visible';

const ROWS = 30;

/** The versions of a prompt, newest first; choosing one shows it. */
export function History(props: {
  trans: TranslationBundle;
  prompt: IPrompt;
  shown: number;
  onShow: (version: number) => void;
}): React.JSX.Element {
  const { trans, prompt, shown, onShow } = props;
  const place = Math.max(
    0,
    prompt.versions.findIndex(v => v.version === shown)
  );
  const paged = usePages(prompt.versions, ROWS, [], Math.floor(place / ROWS));
  // Who goes to a version from elsewhere sees it in the list.
  const turn = Math.floor(place / ROWS);
  const { show } = paged;
  React.useEffect(() => show(turn), [show, turn, shown]);
  const roving = useRoving<HTMLDivElement>(
    paged.rows.length,
    index => onShow(paged.rows[index].version),
    place % ROWS
  );
  return (
    <section aria-label={trans.__('Versions')}>
      <h4>{trans._n('%1 version', '%1 versions', prompt.versions.length)}</h4>
      <div
        className="jp-LLMOps-entries jp-LLMOps-history"
        role="listbox"
        aria-label={trans.__('Versions, newest first')}
        ref={roving.list}
        onKeyDown={roving.onKeyDown}
      >
        {paged.rows.map((version, i) => (
          <div
            key={version.version}
            className="jp-LLMOps-entry"
            role="option"
            aria-selected={version.version === shown}
            {...roving.item(i)}
          >
            <Row trans={trans} version={version} />
          </div>
        ))}
      </div>
      <Pager
        trans={trans}
        paged={paged}
        label={trans.__('Pages of versions')}
      />
    </section>
  );
}

function Row(props: {
  trans: TranslationBundle;
  version: IPromptVersion;
}): React.JSX.Element {
  const { trans, version } = props;
  return (
    <>
      <span className="jp-LLMOps-entry-head">
        <strong dir="ltr">@{version.version}</strong>
        {version.aliases.map(alias => (
          <span key={alias} className="jp-LLMOps-badge">
            {visible(alias)}
          </span>
        ))}
        <span className="jp-LLMOps-quiet">
          {trans._n(
            '%2 trace',
            '%2 traces',
            version.traces,
            number(version.traces)
          )}
        </span>
        <time
          className="jp-LLMOps-quiet jp-LLMOps-entry-end"
          dateTime={version.saved_at}
          title={when(version.saved_at)}
        >
          {ago(version.saved_at)}
        </time>
      </span>
      {version.note && (
        <span className="jp-LLMOps-entry-text" dir="auto">
          {visible(version.note)}
        </span>
      )}
    </>
  );
}
