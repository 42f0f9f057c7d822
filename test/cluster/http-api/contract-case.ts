/** A piece of the contract: rows of docs/http-api.md, and what holds them from outside. */
import type {StartedNode} from '../../../src/server/start-node.ts';
import type {CheckedApi} from './checked-api.ts';

export interface Scene {
  /** Three nodes of one cluster, asked in turn. */
  readonly api: CheckedApi;
  readonly nodes: readonly StartedNode[];
  /** A cluster of one, which allows the pages of `allowedOrigin`. */
  readonly solo: CheckedApi;
  readonly soloNode: StartedNode;
  /** A node whose cluster has not formed. */
  readonly starting: CheckedApi;
}

export const allowedOrigin = 'https://app.example';

export interface ContractCase {
  /** The beginning of each row, as the page shows it. */
  readonly rows: readonly string[];
  readonly run: (scene: Scene) => Promise<void>;
}

export interface Section {
  readonly title: string;
  readonly cases: readonly ContractCase[];
}

export function holds(
  rows: string | readonly string[],
  run: (scene: Scene) => Promise<void>,
): ContractCase {
  return {rows: typeof rows === 'string' ? [rows] : rows, run};
}
