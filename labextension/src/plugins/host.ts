import { JupyterFrontEnd } from '@jupyterlab/application';
import {
  Clipboard,
  Dialog,
  InputDialog,
  Notification,
  showDialog
} from '@jupyterlab/apputils';
import { TranslationBundle } from '@jupyterlab/translation';
import { Widget } from '@lumino/widgets';

import { IHost } from '../host';
import { CommandIDs } from '../tokens';

/** What the sections may do, in the application that runs. */
export function host(app: JupyterFrontEnd, trans: TranslationBundle): IHost {
  const ran = async (
    command: string,
    args: Record<string, string | boolean>
  ) =>
    app.commands.hasCommand(command)
      ? Boolean(await app.commands.execute(command, args))
      : false;
  return {
    openTrace: traceId => {
      void ran(CommandIDs.openTrace, { traceId });
    },
    openCell: (notebook, cellId) =>
      ran(CommandIDs.openCell, { notebook, cellId }),
    notebook: () => {
      const front = app.shell.currentWidget as {
        context?: { localPath?: unknown };
      } | null;
      const path = front?.context?.localPath;
      return typeof path === 'string' && path.endsWith('.ipynb') ? path : null;
    },
    insertCell: (source, options) =>
      ran(CommandIDs.insertCell, { source, run: options?.run ?? false }),
    confirm: async (title, facts, action) => {
      const body = new Widget();
      for (const fact of facts) {
        const line = document.createElement('p');
        line.textContent = fact;
        body.node.appendChild(line);
      }
      const { button } = await showDialog({
        title,
        body,
        buttons: [
          Dialog.cancelButton({ label: trans.__('Cancel') }),
          Dialog.okButton({ label: action })
        ]
      });
      return button.accept;
    },
    askText: async (title, label, suggestions) => {
      const { value, button } = suggestions?.length
        ? await InputDialog.getItem({
            title,
            label,
            items: suggestions,
            editable: true
          })
        : await InputDialog.getText({ title, label });
      return button.accept ? (value ?? '').trim() || null : null;
    },
    notify: (text, kind = 'info') => {
      Notification.emit(text, kind, { autoClose: 4000 });
    },
    copy: async text => {
      Clipboard.copyToSystem(text);
    }
  };
}
