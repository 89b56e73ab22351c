import { ReactWidget } from '@jupyterlab/ui-components';
import { TranslationBundle } from '@jupyterlab/translation';
import { IDisposable } from '@lumino/disposable';
import { Message } from '@lumino/messaging';
import { ISignal, Signal } from '@lumino/signaling';
import * as React from 'react';

import { IHost } from '../host';
import { Watched } from '../watched';
import { IPlace, Panel } from './panel';

import '../../style/parts.css';
import '../../style/chart.css';
import '../../style/traces.css';
import '../../style/prompts.css';
import '../../style/diff.css';
import '../../style/evaluations.css';
import '../../style/models.css';
import '../../style/indexes.css';
import '../../style/monitor.css';

/** The side panel. It looks at the store only while it is visible. */
export class PanelWidget extends ReactWidget {
  constructor(
    readonly watched: Watched,
    readonly host: IHost,
    readonly trans: TranslationBundle,
    place: IPlace
  ) {
    super();
    this._place = place;
    this.addClass('jp-LLMOps');
  }

  get place(): IPlace {
    return this._place;
  }

  set place(place: IPlace) {
    this._place = place;
    this._moved.emit(place);
    this.update();
  }

  get moved(): ISignal<this, IPlace> {
    return this._moved;
  }

  dispose(): void {
    this._look?.dispose();
    super.dispose();
  }

  protected onAfterShow(message: Message): void {
    super.onAfterShow(message);
    this._look ??= this.watched.look();
  }

  protected onAfterAttach(message: Message): void {
    super.onAfterAttach(message);
    if (this.isVisible) {
      this._look ??= this.watched.look();
    }
  }

  protected onBeforeHide(message: Message): void {
    this._rest();
    super.onBeforeHide(message);
  }

  protected onBeforeDetach(message: Message): void {
    this._rest();
    super.onBeforeDetach(message);
  }

  protected render(): React.JSX.Element {
    return (
      <Panel
        watched={this.watched}
        host={this.host}
        trans={this.trans}
        place={this._place}
        onPlace={place => {
          this.place = place;
        }}
      />
    );
  }

  private _rest(): void {
    this._look?.dispose();
    this._look = null;
  }

  private _place: IPlace;
  private _look: IDisposable | null = null;
  private readonly _moved = new Signal<this, IPlace>(this);
}
