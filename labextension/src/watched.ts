import { ServerConnection } from '@jupyterlab/services';
import { IDisposable } from '@lumino/disposable';
import { Poll } from '@lumino/polling';
import { ISignal, Signal } from '@lumino/signaling';

import { Client, IWorkspace, Topic, Versions } from './api';
import { ApiError } from './request';

/** How often the store is asked whether anything is new while something of ours is shown, and at most after faults. */
const INTERVAL_MS = 1000;
const LONGEST_MS = 30_000;

/**
 * The workspace that is shown, and which of its sections may have changed.
 *
 * It asks the server only while somebody looks: callers hold a lease from `look` while they are visible, and
 * a hidden browser tab asks nothing.
 */
export class Watched implements IDisposable {
  constructor(readonly settings: ServerConnection.ISettings) {
    this._poll = new Poll({
      name: 'llmops-jupyter:versions',
      auto: false,
      factory: () => this._ask(),
      frequency: { interval: INTERVAL_MS, backoff: true, max: LONGEST_MS },
      linger: 0, // not even once more after it was hidden
      standby: () => (this._looking === 0 ? true : 'when-hidden')
    });
  }

  /** Workspaces below the server's root; empty before the first answer, and where there is none. */
  get workspaces(): readonly IWorkspace[] {
    return this._workspaces;
  }

  /** The calls of the workspace that is shown; null where there is none. */
  get client(): Client | null {
    return this._client;
  }

  /** Why the server cannot be asked; null while all is well. */
  get fault(): ApiError | null {
    return this._fault;
  }

  /** Whether the server has answered, one way or the other. */
  get asked(): boolean {
    return this._asked;
  }

  /** The workspace, the list of workspaces or the fault is another. */
  get changed(): ISignal<this, void> {
    return this._changed;
  }

  /** Sections whose content may be another. */
  get news(): ISignal<this, ReadonlySet<Topic>> {
    return this._news;
  }

  get isDisposed(): boolean {
    return this._poll.isDisposed;
  }

  dispose(): void {
    if (!this.isDisposed) {
      this._poll.dispose();
      Signal.clearData(this);
    }
  }

  /** Watch until the answer is disposed of. */
  look(): IDisposable {
    this._looking += 1;
    if (this._looking === 1) {
      void this._poll.start().then(() => this._poll.refresh());
    }
    let held = true;
    const release = () => {
      if (held) {
        held = false;
        this._looking -= 1;
        if (this._looking === 0 && !this.isDisposed) {
          void this._poll.stop();
        }
      }
    };
    return {
      get isDisposed() {
        return !held;
      },
      dispose: release
    };
  }

  /** Show this workspace once it is known that there is one, if nobody has chosen another by then. */
  prefer(id: string): void {
    this._preferred = id;
    if (this._workspaces.some(workspace => workspace.id === id)) {
      this.use(id);
    }
  }

  /** Show another workspace. */
  use(id: string): void {
    if (id !== this._client?.workspace) {
      this._client = new Client(this.settings, id);
      this._versions = null;
      this._etag = '';
      this._changed.emit();
      void this.refresh();
    }
  }

  /** Ask now, also which workspaces there are. */
  async refresh(): Promise<void> {
    this._rounds = 0;
    await this._poll.refresh();
    await this._poll.tick;
  }

  private async _ask(): Promise<void> {
    try {
      if (this._client === null || this._rounds % 30 === 0) {
        await this._list();
      }
      this._rounds += 1;
      await this._compare();
      this._told(null);
    } catch (error) {
      const fault =
        error instanceof ApiError
          ? error
          : new ApiError(0, 'Unreachable', String(error));
      if (fault.status === 404 && fault.kind !== 'NoExtension') {
        this._client = null; // The workspace is gone; the next round looks which there are.
      }
      this._told(fault);
      throw error;
    }
  }

  private async _list(): Promise<void> {
    const found = await Client.workspaces(this.settings);
    const same =
      JSON.stringify(found.map(w => w.id)) ===
      JSON.stringify(this._workspaces.map(w => w.id));
    this._workspaces = found;
    if (!found.some(w => w.id === this._client?.workspace)) {
      const first = found.find(w => w.id === this._preferred) ?? found[0];
      this._client = first ? new Client(this.settings, first.id) : null;
      this._versions = null;
      this._etag = '';
      this._changed.emit();
    } else if (!same) {
      this._changed.emit();
    }
  }

  private async _compare(): Promise<void> {
    const client = this._client;
    if (client === null) {
      return;
    }
    const { body, etag } = await client.versions(this._etag || undefined);
    if (client !== this._client || body === null) {
      return; // Another workspace was chosen meanwhile, or nothing is new.
    }
    const before = this._versions;
    this._versions = body;
    this._etag = etag;
    const topics = (Object.keys(body) as Topic[]).filter(
      topic => before === null || before[topic] !== body[topic]
    );
    if (topics.length) {
      this._news.emit(new Set(topics));
    }
  }

  private _told(fault: ApiError | null): void {
    const another =
      !this._asked ||
      fault?.kind !== this._fault?.kind ||
      fault?.message !== this._fault?.message;
    this._asked = true;
    this._fault = fault;
    if (another) {
      this._changed.emit();
    }
  }

  private readonly _poll: Poll;
  private readonly _changed = new Signal<this, void>(this);
  private readonly _news = new Signal<this, ReadonlySet<Topic>>(this);
  private _workspaces: readonly IWorkspace[] = [];
  private _client: Client | null = null;
  private _preferred = '';
  private _versions: Versions | null = null;
  private _etag = '';
  private _fault: ApiError | null = null;
  private _asked = false;
  private _looking = 0;
  private _rounds = 0;
}
