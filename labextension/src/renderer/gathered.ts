import { finite, isObject, list, text } from './read';
import { INode } from './tree';

/** A passage that a search found. `number` is the passage's in the prompt; null where it was left out. */
export interface IFound {
  id: string;
  source: string;
  locator: string;
  score: number | null;
  wordRank: number | null;
  vectorRank: number | null;
  cosine: number | null;
  text: string;
  number: number | null;
}

/** One search: what was looked for, and what was found. */
export interface ISearch {
  index: string;
  query: string;
  found: IFound[];
}

export interface IPlaceOfWords {
  number: number | null;
  quote: string;
  source: string;
  locator: string;
}

/** A sentence of an answer, and what the passages say of it. */
export interface IClaim {
  text: string;
  verdict: string;
  why: string;
  citations: IPlaceOfWords[];
}

/** What a check of a guard policy said. */
export interface IVerdict {
  check: string;
  place: string;
  decision: string;
  action: string;
  reason: string;
  score: number | null;
  threshold: number | null;
  evidence: string;
  policy: string;
}

/** What spans keep in their attributes that is worth a view of its own. */
export interface IGathered {
  searches: ISearch[];
  claims: IClaim[];
  verdicts: IVerdict[];
}

/** More of a kind than anyone looks through. */
const MOST = 500;

/** What a node and all below it keep of searches, of support and of guards. */
export function gathered(nodes: readonly INode[]): IGathered {
  const made: IGathered = { searches: [], claims: [], verdicts: [] };
  const numbers = new Map<string, number>();
  for (const { span } of nodes) {
    const { attributes } = span;
    for (const passage of objects(attributes['llmops.rag.passages'])) {
      const number = finite(passage.number);
      if (number !== null) {
        numbers.set(text(passage.id), number);
      }
    }
    const documents = objects(attributes['gen_ai.retrieval.documents']);
    const query = text(attributes['gen_ai.retrieval.query.text']);
    if (documents.length || query) {
      const index = text(attributes['gen_ai.data_source.id']);
      made.searches.push({ index, query, found: documents.map(found) });
    }
    push(made.claims, objects(attributes['llmops.rag.claims']).map(claim));
    push(
      made.verdicts,
      objects(attributes['llmops.guard.verdicts']).map(verdict)
    );
  }
  for (const search of made.searches) {
    for (const one of search.found) {
      one.number = numbers.get(one.id) ?? null;
    }
  }
  return made;
}

type Json = Record<string, unknown>;

function objects(value: unknown): Json[] {
  return list(value).slice(0, MOST).filter(isObject);
}

function push<T>(to: T[], some: readonly T[]): void {
  to.push(...some.slice(0, Math.max(0, MOST - to.length)));
}

function found(value: Json): IFound {
  return {
    id: text(value.id),
    source: text(value.source),
    locator: text(value.locator),
    score: finite(value.score),
    wordRank: finite(value.word_rank),
    vectorRank: finite(value.vector_rank),
    cosine: finite(value.cosine),
    text: text(value.content ?? value.text),
    number: null
  };
}

function claim(value: Json): IClaim {
  return {
    text: text(value.text),
    verdict: text(value.verdict),
    why: text(value.why),
    citations: objects(value.citations).map(one => ({
      number: finite(one.number),
      quote: text(one.quote),
      source: text(one.source),
      locator: text(one.locator)
    }))
  };
}

function verdict(value: Json): IVerdict {
  return {
    check: text(value.check),
    place: text(value.place),
    decision: text(value.decision),
    action: text(value.action),
    reason: text(value.reason),
    score: finite(value.score),
    threshold: finite(value.threshold),
    evidence: text(value.evidence),
    policy: text(value.policy)
  };
}
