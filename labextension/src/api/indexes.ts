export interface IIndex {
  name: string;
  documents: number;
  passages: number;
  embedder: string;
  size: number;
  changed_at: string;
  health: { state: 'ok' | 'warning' | 'alert'; words: string }[];
}

/** `marked` are pairs of offsets (from, to) in `text`, as JavaScript counts, that hold a word of the question. */
export interface IHit {
  text: string;
  source: string;
  locator: string;
  score: number;
  words: number | null;
  vectors: number | null;
  marked: [number, number][];
}

/** `legs` says which ways of searching took part; the server loads no model for it. */
export interface IHits {
  hits: IHit[];
  legs: ('words' | 'vectors')[];
  note: string;
}
