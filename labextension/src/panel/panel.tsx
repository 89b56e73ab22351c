import { TranslationBundle } from '@jupyterlab/translation';
import * as React from 'react';

import { Topic } from '../api';
import { IHost } from '../host';
import { Boundary } from '../shared/boundary';
import { Empty, Failure, Loading } from '../shared/states';
import { visible } from '../shared/visible';
import { Watched } from '../watched';
import { SECTIONS } from './sections';

/** What is shown in the panel: kept by the layout restorer. */
export interface IPlace {
  section: Topic;
  item: string;
}

/** The whole panel: which workspace, which section, and the section itself. */
export function Panel(props: {
  watched: Watched;
  host: IHost;
  trans: TranslationBundle;
  place: IPlace;
  onPlace: (place: IPlace) => void;
}): React.JSX.Element {
  const { watched, host, trans, place, onPlace } = props;
  const [, redraw] = React.useReducer((n: number) => n + 1, 0);
  React.useEffect(() => {
    watched.changed.connect(redraw);
    redraw();
    return () => {
      watched.changed.disconnect(redraw);
    };
  }, [watched]);
  const go = (section: Topic, item = '') => onPlace({ section, item });
  const shown = SECTIONS.find(s => s.id === place.section) ?? SECTIONS[0];

  return (
    <div className="jp-LLMOps-panel">
      <Workspaces
        watched={watched}
        trans={trans}
        onUse={id => {
          watched.use(id);
          go(shown.id); // What was shown there is another workspace's.
        }}
      />
      <Tabs trans={trans} shown={shown.id} onShow={go} />
      {watched.fault && watched.client && (
        <Failure
          trans={trans}
          fault={watched.fault}
          again={() => void watched.refresh()}
        />
      )}
      <div
        className="jp-LLMOps-section"
        role="tabpanel"
        id="jp-LLMOps-section"
        aria-labelledby={`jp-LLMOps-tab-${shown.id}`}
      >
        {watched.client ? (
          <Boundary
            key={`${watched.client.workspace} ${shown.id}`}
            trans={trans}
          >
            <React.Suspense fallback={<Loading trans={trans} />}>
              <shown.Component
                watched={watched}
                host={host}
                trans={trans}
                item={place.item}
                go={go}
              />
            </React.Suspense>
          </Boundary>
        ) : (
          <Nothing watched={watched} trans={trans} />
        )}
      </div>
    </div>
  );
}

function Nothing(props: {
  watched: Watched;
  trans: TranslationBundle;
}): React.JSX.Element {
  const { watched, trans } = props;
  if (watched.fault) {
    return (
      <Failure
        trans={trans}
        fault={watched.fault}
        again={() => void watched.refresh()}
      />
    );
  }
  if (!watched.asked) {
    return <Loading trans={trans} />;
  }
  return (
    <Empty
      text={trans.__(
        'There is no store below the folder of this server yet. Run a prompt in a notebook, and it appears here.'
      )}
      advice={'%load_ext llmops_jupyter'}
    />
  );
}

function Workspaces(props: {
  watched: Watched;
  trans: TranslationBundle;
  onUse: (id: string) => void;
}): React.JSX.Element | null {
  const { watched, trans, onUse } = props;
  if (watched.workspaces.length < 2) {
    return null;
  }
  return (
    <label className="jp-LLMOps-workspaces">
      <span>{trans.__('Workspace')}</span>
      <select
        value={watched.client?.workspace}
        onChange={event => onUse(event.target.value)}
      >
        {watched.workspaces.map(workspace => (
          <option key={workspace.id} value={workspace.id}>
            {visible(workspace.path)}
          </option>
        ))}
      </select>
    </label>
  );
}

/** Tabs by the ARIA pattern: one stop for Tab, arrows, Home and End move. */
function Tabs(props: {
  trans: TranslationBundle;
  shown: Topic;
  onShow: (section: Topic) => void;
}): React.JSX.Element {
  const { trans, shown, onShow } = props;
  const list = React.useRef<HTMLDivElement>(null);
  const move = (event: React.KeyboardEvent) => {
    const right = getComputedStyle(event.currentTarget).direction !== 'rtl';
    const at = SECTIONS.findIndex(s => s.id === shown);
    const last = SECTIONS.length - 1;
    const to: Record<string, number> = {
      ArrowRight: right ? at + 1 : at - 1,
      ArrowLeft: right ? at - 1 : at + 1,
      Home: 0,
      End: last
    };
    if (event.key in to) {
      event.preventDefault();
      const next = (to[event.key] + SECTIONS.length) % SECTIONS.length;
      onShow(SECTIONS[next].id);
      const tabs = list.current?.querySelectorAll<HTMLElement>('[role=tab]');
      tabs?.[next].focus();
    }
  };
  return (
    <div
      className="jp-LLMOps-tabs"
      role="tablist"
      aria-label={trans.__('Sections')}
      ref={list}
      onKeyDown={move}
    >
      {SECTIONS.map(section => (
        <button
          key={section.id}
          id={`jp-LLMOps-tab-${section.id}`}
          role="tab"
          aria-selected={section.id === shown}
          aria-controls="jp-LLMOps-section"
          tabIndex={section.id === shown ? 0 : -1}
          onClick={() => onShow(section.id)}
        >
          {section.label(trans)}
        </button>
      ))}
    </div>
  );
}
