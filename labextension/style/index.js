// Only what is seen at once. The styles of the sections come with the panel, those of traces with the trace view.
import './base.css';
