import './base.css';
import './traces.css';
import './prompts.css';
import './diff.css';
import './evaluations.css';
import './models.css';
import './indexes.css';
import './monitor.css';
