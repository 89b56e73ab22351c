import { TranslationBundle } from '@jupyterlab/translation';
import { Cell } from '@jupyterlab/cells';
import { PanelLayout, Widget } from '@lumino/widgets';

import { badgeWords, IBadge } from './state';

import '../../style/badges.css';

/** The version of a prompt cell, on the lower edge of its text. It takes no room of its own. */
export class Badge extends Widget {
  constructor(
    readonly trans: TranslationBundle,
    readonly onClick: (badge: IBadge) => void
  ) {
    super();
    this.addClass('jp-LLMOps-cell');
    this._button = document.createElement('button');
    this._button.type = 'button';
    this._button.setAttribute('aria-haspopup', 'dialog');
    this._button.addEventListener('click', event => {
      event.stopPropagation(); // the cell is not to be edited
      if (this._badge) {
        this.onClick(this._badge);
      }
    });
    // The notebook takes Enter and Space for itself.
    this._button.addEventListener('keydown', event => event.stopPropagation());
    this._button.addEventListener('mousedown', event =>
      event.stopPropagation()
    );
    this.node.appendChild(this._button);
  }

  set badge(badge: IBadge) {
    this._badge = badge;
    const { text, title, state } = badgeWords(badge, this.trans);
    if (this._button.textContent !== text) {
      this._button.textContent = text;
    }
    this._button.title = title;
    this._button.setAttribute('aria-label', title);
    this._button.dataset.state = state;
  }

  /** Put it below the text of a cell whose parts are made; false where they are not yet. */
  mount(cell: Cell): boolean {
    const layout = cell.layout as PanelLayout | null;
    const input = cell.inputArea?.parent;
    if (!layout || !input) {
      return false;
    }
    const at = layout.widgets.indexOf(input);
    layout.insertWidget(at < 0 ? layout.widgets.length : at + 1, this);
    return true;
  }

  private readonly _button: HTMLButtonElement;
  private _badge: IBadge | null = null;
}
