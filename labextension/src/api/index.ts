/**
 * The routes of the server extension as functions, and what they answer.
 *
 * The same shapes stand in `llmops_jupyter/server/openapi.yaml`; a test holds the two together. Times are
 * ISO 8601 in UTC unless the name says nanoseconds (`_ns`); sizes are bytes; shares lie between 0 and 1.
 */
export * from './client';
export * from './evaluations';
export * from './indexes';
export * from './models';
export * from './monitor';
export * from './prompts';
export * from './traces';
export * from './workspace';
