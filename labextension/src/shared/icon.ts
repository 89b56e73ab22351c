import { LabIcon } from '@jupyterlab/ui-components';

/** A speech balloon with a waterfall of three spans. */
export const icon = new LabIcon({
  name: 'llmops-jupyter:icon',
  svgstr:
    '<svg xmlns="http://www.w3.org/2000/svg" width="16" height="16" viewBox="0 0 24 24">' +
    '<g class="jp-icon3" fill="#616161">' +
    '<path d="M4 3h16a2 2 0 0 1 2 2v11a2 2 0 0 1-2 2h-8l-5 4v-4H4a2 2 0 0 1-2-2V5a2 2 0 0 1 2-2zm0 2v11h5v2l2.5-2H20V5z"/>' +
    '<path d="M6 7h7v1.6H6zm3 2.7h7v1.6H9zm3 2.7h6V14h-6z"/></g></svg>'
});
