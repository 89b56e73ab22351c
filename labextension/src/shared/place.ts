import { ITraceFilters } from '../api';

/** Filters that may stand in a place, in their order. */
const NAMES = [
  'prompt',
  'model',
  'status',
  'notebook',
  'session',
  'score',
  'since',
  'until'
] as const;

type Name = (typeof NAMES)[number];

/** A place in the traces section: filters as `key:value`, spaces between them; those of a value as in an address. */
export function placeOf(filters: Pick<ITraceFilters, Name>): string {
  const set = NAMES.flatMap(name => {
    const value = filters[name];
    return value
      ? [`${name}:${value.replace(/[\s%]/g, encodeURIComponent)}`]
      : [];
  });
  return set.join(' ');
}

/** The filters of a place; null where it is none, but the id of a trace. A value may have colons. */
export function filtersOf(place: string): ITraceFilters | null {
  const found: ITraceFilters = {};
  for (const part of place.split(/\s+/).filter(Boolean)) {
    const at = part.indexOf(':');
    const name = NAMES.find(known => known === part.slice(0, at));
    const value = decoded(part.slice(at + 1));
    if (at < 0 || name === undefined || !value) {
      return null;
    }
    Object.assign(found, { [name]: value });
  }
  return Object.keys(found).length ? found : null;
}

function decoded(text: string): string {
  try {
    return decodeURIComponent(text);
  } catch {
    return text; // Somebody wrote it by hand.
  }
}
