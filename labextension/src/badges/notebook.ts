import { Cell } from '@jupyterlab/cells';
import { NotebookPanel } from '@jupyterlab/notebook';
import { TranslationBundle } from '@jupyterlab/translation';
import { IDisposable } from '@lumino/disposable';
import { IMessageHandler, Message, MessageLoop } from '@lumino/messaging';
import { Debouncer } from '@lumino/polling';
import { Signal } from '@lumino/signaling';

import { Client, ICell, IPrompt, Topic } from '../api';
import { Watched } from '../watched';
import { Badge } from './badge';
import { badgeOf, IBadge, isPrompt } from './state';

/** How long typing must rest before the badges follow. */
const REST_MS = 300;

/** What a badge opens. */
export type ShowChanges = (client: Client, badge: IBadge) => void;

/**
 * The badges of one notebook. It asks for all its cells at once, and only while the notebook is seen and has prompts.
 */
export class NotebookBadges implements IDisposable {
  constructor(
    readonly panel: NotebookPanel,
    readonly watched: Watched,
    readonly trans: TranslationBundle,
    readonly showChanges: ShowChanges
  ) {
    this._rest = new Debouncer(() => this._sweep(), REST_MS);
    MessageLoop.installMessageHook(panel, this._hook);
    const { content } = panel;
    content.modelContentChanged.connect(this._touched, this);
    content.modelChanged.connect(this._touched, this);
    content.cellInViewportChanged.connect(this._touched, this);
    panel.context.pathChanged.connect(this._forget, this);
    watched.news.connect(this._heard, this);
    watched.changed.connect(this._moved, this);
    void panel.context.ready.then(() => this._touched());
  }

  get isDisposed(): boolean {
    return this._disposed;
  }

  dispose(): void {
    if (this._disposed) {
      return;
    }
    this._disposed = true;
    MessageLoop.removeMessageHook(this.panel, this._hook);
    Signal.clearData(this);
    this._rest.dispose();
    this._look?.dispose();
    for (const badge of this._badges.values()) {
      badge.dispose();
    }
    this._badges.clear();
  }

  private _touched(): void {
    if (!this._disposed) {
      void this._rest.invoke().catch(() => undefined); // disposed of meanwhile
    }
  }

  /** Look at the store if the notebook is seen and has prompts; then bring the badges up to date. */
  private _sweep(): void {
    if (this._disposed) {
      return;
    }
    const seen = this.panel.isVisible && this._hasPrompts();
    if (seen && !this._look) {
      this._look = this.watched.look();
    } else if (!seen && this._look) {
      this._look.dispose();
      this._look = null;
    }
    if (seen && this._stale) {
      void this._ask();
    }
    this._draw();
  }

  private _hasPrompts(): boolean {
    const cells = this.panel.content.model?.cells;
    for (let at = 0; cells && at < cells.length; at += 1) {
      const cell = cells.get(at);
      if (cell.type === 'code' && isPrompt(cell.sharedModel.getSource())) {
        return true;
      }
    }
    return false;
  }

  private _heard(_: Watched, news: ReadonlySet<Topic>): void {
    if (news.has('prompts')) {
      this._prompts.clear();
    }
    if (news.has('prompts') || news.has('traces')) {
      this._stale = true;
      this._touched();
    }
  }

  private _moved(): void {
    if (this.watched.client !== this._client) {
      this._forget();
    }
  }

  private _forget(): void {
    this._client = this.watched.client;
    this._rows.clear();
    this._prompts.clear();
    this._stale = true;
    this._touched();
  }

  private async _ask(): Promise<void> {
    const client = this.watched.client;
    if (client === null || this._asking) {
      return;
    }
    this._asking = true;
    this._stale = false;
    try {
      const path = this.panel.context.localPath;
      const { items } = await client.cells(path);
      const mine = this._own(items);
      const names = new Set(mine.map(row => row.prompt));
      const missing = [...names].filter(name => !this._prompts.has(name));
      const found = await Promise.all(
        missing.map(name => client.prompt(name).catch(() => null))
      );
      if (client === this.watched.client && !this._disposed) {
        this._client = client;
        this._rows = new Map(mine.map(row => [row.cell_id, row]));
        missing.forEach((name, at) => this._prompts.set(name, found[at]));
        this._draw();
      }
    } catch {
      // The panel says what is wrong; the badges stay as they were, and news brings them up to date.
    } finally {
      this._asking = false;
      if (this._stale) {
        this._touched();
      }
    }
  }

  /** The rows of cells that are in the notebook still. */
  private _own(items: readonly ICell[]): ICell[] {
    const ids = new Set(this.panel.content.widgets.map(cell => cell.model.id));
    return items.filter(row => ids.has(row.cell_id));
  }

  private _draw(): void {
    if (this._disposed || this.panel.isDisposed) {
      return;
    }
    const wanted = new Set<Cell>();
    for (const cell of this.panel.content.widgets) {
      const row = this._rows.get(cell.model.id);
      const badge =
        row &&
        badgeOf(
          cell.model.sharedModel.getSource(),
          row,
          this._prompts.get(row.prompt) ?? null
        );
      if (badge && this._put(cell, badge)) {
        wanted.add(cell);
      }
    }
    for (const [cell, badge] of this._badges) {
      if (!wanted.has(cell)) {
        badge.dispose();
        this._badges.delete(cell);
      }
    }
  }

  /** Show a badge at a cell; false where the cell is out of sight: it comes when the cell does. */
  private _put(cell: Cell, badge: IBadge): boolean {
    const known = this._badges.get(cell);
    if (known && !known.isDisposed) {
      known.badge = badge;
      return true;
    }
    const made = new Badge(this.trans, clicked => {
      if (this._client) {
        this.showChanges(this._client, clicked);
      }
    });
    if (!made.mount(cell)) {
      made.dispose();
      return false;
    }
    made.badge = badge;
    this._badges.set(cell, made);
    return true;
  }

  private readonly _hook = (_: IMessageHandler, message: Message): boolean => {
    if (
      ['after-show', 'after-attach', 'before-detach'].includes(message.type) ||
      ['after-hide', 'before-hide'].includes(message.type)
    ) {
      this._touched();
    }
    return true;
  };

  private readonly _rest: Debouncer<void>;
  private readonly _badges = new Map<Cell, Badge>();
  private readonly _prompts = new Map<string, IPrompt | null>();
  private _rows = new Map<string, ICell>();
  private _client: Client | null = null;
  private _look: IDisposable | null = null;
  private _stale = true;
  private _asking = false;
  private _disposed = false;
}
