import { TranslationBundle } from '@jupyterlab/translation';
import * as React from 'react';

import { IFacet, IFacets, ITraceFilters } from '../api';
import { fileName } from '../notebooks/place';
import { number } from '../shared/quantities';
import { statusWord } from '../shared/standing';
import { visible } from '../shared/visible';
import {
  AGES,
  FilterName,
  STATUSES,
  aged,
  changed,
  given,
  shownValue,
  titled
} from './filters';

/** How long nothing is typed before a search begins. */
export const PAUSE_MS = 250;

interface IFilterProps {
  trans: TranslationBundle;
  filters: ITraceFilters;
  onFilters: (filters: ITraceFilters) => void;
}

/** Search, menus and what is set. `notebook` is the one that is open, null where none is known. */
export function FilterBar(
  props: IFilterProps & {
    facets: IFacets | null;
    notebook: string | null;
    open: boolean;
    onOpen: (open: boolean) => void;
  }
): React.JSX.Element {
  const { trans, filters, onFilters, facets, notebook, open, onOpen } = props;
  const menus = React.useId();
  const here = notebook !== null && filters.notebook === notebook;
  return (
    <div className="jp-LLMOps-filters">
      <div className="jp-LLMOps-filters-line">
        <Search
          trans={trans}
          value={filters.q ?? ''}
          onSearch={q => onFilters(changed(filters, 'q', q))}
        />
        <button
          className="jp-LLMOps-button"
          aria-expanded={open}
          aria-controls={menus}
          onClick={() => onOpen(!open)}
        >
          {trans.__('Filter')}
        </button>
      </div>
      {notebook !== null && (
        <label className="jp-LLMOps-filters-here" title={notebook}>
          <input
            type="checkbox"
            checked={here}
            onChange={() =>
              onFilters(changed(filters, 'notebook', here ? '' : notebook))
            }
          />
          {trans.__('This notebook only')}
        </label>
      )}
      <div id={menus} hidden={!open}>
        {open && (
          <Menus
            trans={trans}
            filters={filters}
            onFilters={onFilters}
            facets={facets}
          />
        )}
      </div>
      <Chips trans={trans} filters={filters} onFilters={onFilters} />
    </div>
  );
}

function Search(props: {
  trans: TranslationBundle;
  value: string;
  onSearch: (text: string) => void;
}): React.JSX.Element {
  const { trans, value, onSearch } = props;
  const [text, setText] = React.useState(value);
  const search = React.useRef(onSearch);
  search.current = onSearch;
  React.useEffect(() => {
    setText(old => (old.trim() === value ? old : value));
  }, [value]);
  React.useEffect(() => {
    const wanted = text.trim();
    if (wanted === value) {
      return;
    }
    const timer = setTimeout(() => search.current(wanted), PAUSE_MS);
    return () => clearTimeout(timer);
  }, [text, value]);
  return (
    <input
      type="search"
      className="jp-LLMOps-filters-search"
      aria-label={trans.__('Search in all that was asked and answered')}
      placeholder={trans.__('Search…')}
      title={trans.__('Words; "a phrase"; a beginning*')}
      value={text}
      onChange={event => setText(event.target.value)}
      onKeyDown={event => {
        if (event.key === 'Escape' && text) {
          event.preventDefault();
          event.stopPropagation();
          setText('');
          onSearch('');
        } else if (event.key === 'Enter') {
          onSearch(text.trim());
        }
      }}
    />
  );
}

/** A menu for each filter, with the values that the newest traces have. */
function Menus(
  props: IFilterProps & { facets: IFacets | null }
): React.JSX.Element {
  const { trans, filters, onFilters, facets } = props;
  const menu = (name: FilterName, options: IOption[]) => (
    <Menu
      key={name}
      trans={trans}
      name={name}
      value={filters[name] ?? ''}
      options={options}
      onValue={value => onFilters(changed(filters, name, value))}
    />
  );
  return (
    <div className="jp-LLMOps-filters-menus">
      {menu(
        'status',
        STATUSES.map(value => ({ value, label: statusWord(trans, value) }))
      )}
      {menu('prompt', options(facets?.prompts))}
      {menu('model', options(facets?.models))}
      {menu('score', options(facets?.scores))}
      {menu('notebook', options(facets?.notebooks, fileName))}
      {menu('session', options(facets?.sessions))}
      {menu(
        'since',
        AGES.map(value => ({ value, label: aged(trans, value) }))
      )}
    </div>
  );
}

interface IOption {
  value: string;
  label: string;
}

function options(
  facets: IFacet[] | undefined,
  shown: (value: string) => string = value => value
): IOption[] {
  return (facets ?? [])
    .filter(({ value }) => value !== '')
    .map(({ value, count }) => ({
      value,
      label: `${visible(shown(value))} (${number(count)})`
    }));
}

function Menu(props: {
  trans: TranslationBundle;
  name: FilterName;
  value: string;
  options: IOption[];
  onValue: (value: string) => void;
}): React.JSX.Element {
  const { trans, name, value, onValue } = props;
  const id = React.useId();
  const known = props.options.some(option => option.value === value);
  return (
    <div className="jp-LLMOps-filters-menu">
      <label htmlFor={id}>{titled(trans, name)}</label>
      <select
        id={id}
        value={value}
        onChange={event => onValue(event.target.value)}
      >
        <option value="">{trans.__('all')}</option>
        {value && !known && (
          <option value={value}>
            {visible(shownValue(trans, name, value))}
          </option>
        )}
        {props.options.map(option => (
          <option key={option.value} value={option.value}>
            {option.label}
          </option>
        ))}
      </select>
    </div>
  );
}

/** What is set, each to be taken away with one press. */
function Chips(props: IFilterProps): React.JSX.Element | null {
  const { trans, filters, onFilters } = props;
  const set = given(filters);
  if (set.length === 0) {
    return null;
  }
  return (
    <ul
      className="jp-LLMOps-filters-chips"
      aria-label={trans.__('Active filters')}
    >
      {set.map(([name, value]) => {
        const text = `${titled(trans, name)}: ${visible(shownValue(trans, name, value))}`;
        return (
          <li key={name}>
            <button
              className="jp-LLMOps-chip"
              title={visible(value)}
              aria-label={trans.__('Remove filter %1', text)}
              onClick={() => onFilters(changed(filters, name, ''))}
            >
              <bdi>{text}</bdi>
              <span aria-hidden="true"> ×</span>
            </button>
          </li>
        );
      })}
      {set.length > 1 && (
        <li>
          <button className="jp-LLMOps-chip" onClick={() => onFilters({})}>
            {trans.__('Remove all')}
          </button>
        </li>
      )}
    </ul>
  );
}
