/** What the head of a backup file says of its rows, as the meta row among them has it. */
import {equalBytes} from '../base/bytes.ts';
import {formatStateHash} from '../kv/state-hash.ts';
import {StateMeta} from '../kv/state-meta.ts';
import {metaKey} from '../kv/tables.ts';
import type {BackupHead} from './backup-format.ts';

type BackupContent = Pick<BackupHead, 'revision' | 'compactedRevision' | 'keyCount' | 'stateHash'>;

/** Takes the rows in order; without a meta row the store is one that nothing was written to. */
export class BackupContentReader {
  readonly #state = new StateMeta();

  /** Throws MalformedBytesError. */
  takeRow(rowKeyView: Uint8Array, valueView: Uint8Array): void {
    if (equalBytes(rowKeyView, metaKey)) this.#state.load({get: () => valueView});
  }

  content(): BackupContent {
    const {revision, compactedRevision, keyCount, hashLow: low, hashHigh: high} = this.#state;
    const stateHash = formatStateHash({low, high}, compactedRevision);
    return {revision, compactedRevision, keyCount, stateHash};
  }

  /** Where the head says something else, null: nowhere. */
  differenceFrom(head: BackupContent): string | null {
    const content = this.content();
    for (const name of ['revision', 'compactedRevision', 'keyCount', 'stateHash'] as const) {
      const [said, found] = [head[name], content[name]];
      if (said !== found) return `its head says ${name} ${said}, its rows ${found}`;
    }
    return null;
  }
}
