export interface IPromptSummary {
  name: string;
  latest: number;
  versions: number;
  aliases: Record<string, number>;
  split: string | null;
  saved_at: string;
  traces: number;
  preview: string;
}

export interface IPromptVersion {
  version: number;
  saved_at: string;
  note: string;
  aliases: string[];
  /** The cell that would make this version, with its `%%prompt` line. */
  cell: string;
  template: string;
  settings: Record<string, unknown>;
  traces: number;
}

export interface IAliasChange {
  alias: string;
  version: number | null;
  previous: number | null;
  at: string;
  note: string;
}

/** Versions from the newest to the oldest. `back` is the version to which a roll-back of an alias would go. */
export interface IPrompt {
  name: string;
  versions: IPromptVersion[];
  aliases: Record<string, number>;
  back: Record<string, number>;
  log: IAliasChange[];
  split: { alias: string; arms: Record<string, number>; words: string } | null;
}

/** A line of a difference: kept, added in `b`, removed from `a`, or a gap of equal lines. */
export interface IDiffLine {
  kind: 'same' | 'added' | 'removed' | 'gap';
  text: string;
  a: number | null;
  b: number | null;
}

export interface IDiff {
  a: string;
  b: string;
  parts: { title: string; lines: IDiffLine[] }[];
}
