import { IEstimate } from './evaluations';

export interface IModel {
  name: string;
  kind: string;
  architecture: string;
  quantization: string;
  size: number | null;
  context: number | null;
  memory: number | null;
  loaded: boolean;
  is_default: boolean;
  missing: boolean;
  adapters: IAdapter[];
  tuned: ITuned[];
}

export interface IAdapter {
  name: string;
  version: number;
  aliases: string[];
  run: string | null;
  saved_at: string;
}

export interface ITuned {
  copy: string;
  size: number | null;
  tokens_per_s: number | null;
  perplexity: IEstimate | null;
  chosen: boolean;
}

export interface ITraining {
  id: string;
  name: string;
  model: string;
  status: string;
  started_at: string;
  step: number;
  steps: number;
  left_s: number | null;
  tokens_per_s: number | null;
  train: [number, number][];
  evaluation: [number, number][];
  samples: { prompt: string; before: string; after: string }[];
  words: string;
}
