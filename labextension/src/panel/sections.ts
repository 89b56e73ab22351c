import { TranslationBundle } from '@jupyterlab/translation';
import * as React from 'react';

import { Topic } from '../api';
import { IHost } from '../host';
import { Watched } from '../watched';

export interface ISectionProps {
  watched: Watched;
  host: IHost;
  trans: TranslationBundle;
  /** What to show in it, from a command or another section: a trace's id, a prompt's name; '' for all. */
  item: string;
  /** Go to another section of the panel. */
  go: (section: Topic, item?: string) => void;
}

type Section = React.ComponentType<ISectionProps>;

export interface ISectionEntry {
  id: Topic;
  label: (trans: TranslationBundle) => string;
  Component: React.LazyExoticComponent<Section>;
}

/** The sections in their order. The code of each is fetched when it is first shown. */
export const SECTIONS: readonly ISectionEntry[] = [
  {
    id: 'traces',
    label: trans => trans.__('Traces'),
    Component: React.lazy(() => import('../traces/section'))
  },
  {
    id: 'prompts',
    label: trans => trans.__('Prompts'),
    Component: React.lazy(() => import('../prompts/section'))
  },
  {
    id: 'evaluations',
    label: trans => trans.__('Evaluations'),
    Component: React.lazy(() => import('../evaluations/section'))
  },
  {
    id: 'models',
    label: trans => trans.__('Models'),
    Component: React.lazy(() => import('../models/section'))
  },
  {
    id: 'indexes',
    label: trans => trans.__('RAG'),
    Component: React.lazy(() => import('../indexes/section'))
  },
  {
    id: 'monitor',
    label: trans => trans.__('Monitor'),
    Component: React.lazy(() => import('../monitor/section'))
  }
];
