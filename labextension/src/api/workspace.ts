/** A page of a list. `next` is the cursor of the following page, null at the end. */
export interface IPage<T> {
  items: T[];
  next: string | null;
}

/** A store below the server's root folder. `path` is relative to that root, for people to read. */
export interface IWorkspace {
  id: string;
  name: string;
  path: string;
  size: number;
  changed_at: string;
}

/** One string for each section; it differs from an earlier one if the section's content may. */
export type Versions = Record<Topic, string>;
export type Topic =
  'traces' | 'prompts' | 'evaluations' | 'models' | 'indexes' | 'monitor';

/** What the status bar shows. `models` are those that worker processes have loaded now. */
export interface IStatus {
  models: ILoaded[];
  last: { model: string; tokens_per_s: number | null; at: string } | null;
  alerts: { warning: number; alert: number };
}

export interface ILoaded {
  model: string;
  memory: number | null;
  process_id: number;
}

/** The newest version that each cell of a notebook has made or run. */
export interface ICell {
  cell_id: string;
  prompt: string;
  version: number;
  latest: number;
  trace_id: string;
}
