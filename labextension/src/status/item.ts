import { TranslationBundle } from '@jupyterlab/translation';
import { IDisposable } from '@lumino/disposable';
import { Poll } from '@lumino/polling';
import { ISignal, Signal } from '@lumino/signaling';
import { Widget } from '@lumino/widgets';

import { Client, Topic } from '../api';
import { Watched } from '../watched';
import { IStatusWords, statusWords } from './words';

/** A worker that ends leaves no trace in the store, so the status is asked for again without news. */
const INTERVAL_MS = 15_000;
const LONGEST_MS = 120_000;
const TOPICS: readonly Topic[] = ['traces', 'models', 'monitor'];

/** What the status bar shows of the workspace. It looks at the store only while it is told to. */
export class StatusItem extends Widget {
  constructor(
    readonly watched: Watched,
    readonly trans: TranslationBundle,
    onClick: () => void
  ) {
    super();
    this.addClass('jp-LLMOps-status');
    this._button = document.createElement('button');
    this._button.type = 'button';
    this._button.addEventListener('click', onClick);
    this.node.appendChild(this._button);
    this._poll = new Poll({
      name: 'llmops-jupyter:status',
      auto: false,
      factory: () => this._ask(),
      frequency: { interval: INTERVAL_MS, backoff: true, max: LONGEST_MS },
      standby: 'when-hidden'
    });
    watched.news.connect(this._heard, this);
    watched.changed.connect(this._moved, this);
  }

  /** Whether there is anything to show. */
  get shows(): boolean {
    return this._words !== null;
  }

  get shownChanged(): ISignal<this, void> {
    return this._shownChanged;
  }

  /** Look at the store, or stop. What was shown is dropped when it stops. */
  set looking(on: boolean) {
    if (on === (this._look !== null) || this.isDisposed) {
      return;
    }
    if (on) {
      this._look = this.watched.look();
      void this._poll.start();
      this._again();
    } else {
      this._look?.dispose();
      this._look = null;
      void this._poll.stop();
      this._show(null);
    }
  }

  dispose(): void {
    if (this.isDisposed) {
      return;
    }
    this.looking = false;
    this._poll.dispose();
    Signal.clearData(this);
    super.dispose();
  }

  private _heard(_: Watched, news: ReadonlySet<Topic>): void {
    if (TOPICS.some(topic => news.has(topic))) {
      this._again();
    }
  }

  private _moved(): void {
    if (this.watched.client !== this._asked) {
      this._show(null);
      this._again();
    }
  }

  private _again(): void {
    if (this._look) {
      void this._poll.refresh();
    }
  }

  private async _ask(): Promise<void> {
    const client = this.watched.client;
    this._asked = client;
    if (client === null) {
      this._show(null);
      return;
    }
    try {
      const status = await client.status();
      if (client === this.watched.client && this._look) {
        this._show(statusWords(status, this.trans));
      }
    } catch (error) {
      this._show(null); // Rather nothing than what may no longer hold.
      throw error;
    }
  }

  private _show(words: IStatusWords | null): void {
    if (this.isDisposed) {
      return;
    }
    this._words = words;
    this._button.textContent = words?.text ?? '';
    this._button.title = words?.title ?? '';
    this._button.dataset.state = words?.state ?? 'ok';
    this._shownChanged.emit();
  }

  private readonly _button: HTMLButtonElement;
  private readonly _poll: Poll;
  private readonly _shownChanged = new Signal<this, void>(this);
  private _words: IStatusWords | null = null;
  private _asked: Client | null = null;
  private _look: IDisposable | null = null;
}
