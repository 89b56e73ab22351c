import { ServerConnection } from '@jupyterlab/services';

import { ask, IAnswer, IRequest } from '../request';
import { IComparison, IRunSummary } from './evaluations';
import { IHits, IIndex } from './indexes';
import { IModel, ITraining } from './models';
import { IMonitor } from './monitor';
import { IDiff, IPrompt, IPromptSummary } from './prompts';
import {
  IFacets,
  IScore,
  ITrace,
  ITraceFilters,
  ITraceSummary
} from './traces';
import { ICell, IPage, IStatus, IWorkspace, Versions } from './workspace';

/** All calls of one workspace. Each may throw an ApiError. */
export class Client {
  constructor(
    readonly settings: ServerConnection.ISettings,
    readonly workspace: string
  ) {}

  static async workspaces(
    settings: ServerConnection.ISettings
  ): Promise<IWorkspace[]> {
    const { body } = await ask<{ items: IWorkspace[] }>(settings, 'workspaces');
    return body?.items ?? [];
  }

  versions(etag?: string, signal?: AbortSignal): Promise<IAnswer<Versions>> {
    return this.ask('versions', { etag, signal });
  }

  status(): Promise<IStatus> {
    return this.get('status');
  }

  traces(
    filters: ITraceFilters = {},
    cursor?: string,
    limit = 100,
    signal?: AbortSignal
  ): Promise<IPage<ITraceSummary>> {
    return this.get('traces', { ...filters, cursor, limit }, signal);
  }

  trace(id: string): Promise<ITrace> {
    return this.get(`traces/${encodeURIComponent(id)}`);
  }

  facets(): Promise<IFacets> {
    return this.get('facets');
  }

  score(
    trace: string,
    name: string,
    value: number | string | boolean,
    explanation = ''
  ): Promise<IScore> {
    return this.send('POST', `traces/${encodeURIComponent(trace)}/scores`, {
      name,
      value,
      explanation
    });
  }

  /** Add traces as rows to a data set, which becomes a new version; it is made if there is none. */
  collect(
    dataset: string,
    traces: string[]
  ): Promise<{ name: string; version: number; rows: number; added: number }> {
    return this.send('POST', `datasets/${encodeURIComponent(dataset)}/traces`, {
      traces
    });
  }

  datasets(): Promise<
    IPage<{ name: string; version: number; rows: number; saved_at: string }>
  > {
    return this.get('datasets');
  }

  prompts(): Promise<IPage<IPromptSummary>> {
    return this.get('prompts');
  }

  prompt(name: string): Promise<IPrompt> {
    return this.get(`prompts/${encodeURIComponent(name)}`);
  }

  diff(name: string, a: number, b: number): Promise<IDiff> {
    return this.get(`prompts/${encodeURIComponent(name)}/diff`, { a, b });
  }

  /** Move an alias. `expected` is where it points now as far as the caller knows (null: nowhere); else 409. */
  promote(
    name: string,
    alias: string,
    version: number,
    expected: number | null,
    note = ''
  ): Promise<IPrompt> {
    return this.send(
      'PUT',
      `prompts/${encodeURIComponent(name)}/aliases/${encodeURIComponent(alias)}`,
      { version, expected, note }
    );
  }

  /** Point an alias to where it pointed before. */
  rollback(
    name: string,
    alias: string,
    expected: number,
    note = ''
  ): Promise<IPrompt> {
    return this.send(
      'POST',
      `prompts/${encodeURIComponent(name)}/aliases/${encodeURIComponent(alias)}/rollback`,
      { expected, note }
    );
  }

  evaluations(cursor?: string): Promise<IPage<IRunSummary>> {
    return this.get('evaluations', { cursor });
  }

  /** Compare two kept runs by a metric; slices by a column of the data. It counts as no further look. */
  compare(
    a: string,
    b: string,
    metric: string,
    slices?: string
  ): Promise<IComparison> {
    return this.get('comparison', { a, b, metric, slices });
  }

  models(): Promise<IPage<IModel>> {
    return this.get('models');
  }

  trainings(): Promise<IPage<ITraining>> {
    return this.get('trainings');
  }

  training(id: string): Promise<ITraining> {
    return this.get(`trainings/${encodeURIComponent(id)}`);
  }

  indexes(): Promise<IPage<IIndex>> {
    return this.get('indexes');
  }

  search(
    index: string,
    q: string,
    k = 10,
    signal?: AbortSignal
  ): Promise<IHits> {
    return this.get(
      `indexes/${encodeURIComponent(index)}/search`,
      { q, k },
      signal
    );
  }

  /** `since` as an age (24h, 7d) or a date. */
  monitor(since = '7d'): Promise<IMonitor> {
    return this.get('monitor', { since });
  }

  cells(notebook: string): Promise<{ items: ICell[] }> {
    return this.get('cells', { notebook });
  }

  private async get<T>(
    path: string,
    query: IRequest['query'] = {},
    signal?: AbortSignal
  ): Promise<T> {
    return (await this.ask<T>(path, { query, signal })).body as T;
  }

  private async send<T>(
    method: 'POST' | 'PUT' | 'DELETE',
    path: string,
    body: unknown
  ): Promise<T> {
    return (await this.ask<T>(path, { method, body })).body as T;
  }

  private ask<T>(path: string, request: IRequest): Promise<IAnswer<T>> {
    return ask(
      this.settings,
      `workspaces/${encodeURIComponent(this.workspace)}/${path}`,
      request
    );
  }
}
