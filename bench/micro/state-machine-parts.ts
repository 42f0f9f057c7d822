/** What a command costs: to encode and decode it, and to apply it over an overlay. */
import {encodeCommand, decodePlainPut} from '../../src/kv/command-codec.ts';
import {KvStateMachine} from '../../src/kv/state-machine.ts';
import type {RowRange, RowStore} from '../../src/kv/rows.ts';
import {Overlay} from '../../src/storage/overlay.ts';
import {put, transaction} from '../../test/contract/commands.ts';
import type {Stopwatch} from './stopwatch.ts';

const commandCount = 10_000;
const value = 'v'.repeat(128);

export function measureStateMachine(stopwatch: Stopwatch): void {
  const commands = Array.from({length: commandCount}, (_, i) => ({
    idempotency: null,
    body: transaction({success: [put(`key-${String(i).padStart(9, '0')}`, value)]}),
  }));
  const encoded = commands.map(encodeCommand);
  stopwatch.measure('command: encode a put of 128 bytes', commandCount, () => {
    for (const command of commands) encodeCommand(command);
  });
  stopwatch.measure('command: decode it', commandCount, () => {
    for (const bytes of encoded) decodePlainPut(bytes);
  });
  stopwatch.measure('state machine: apply it, 10,000 new keys', commandCount, () => {
    const machine = new KvStateMachine(new OverlayRows());
    let index = 0;
    for (const data of encoded) machine.apply({index: ++index, proposedAtMs: 1, data});
  });
}

/** An overlay over nothing. */
class OverlayRows implements RowStore {
  readonly #overlay = new Overlay();

  get(rowKey: Uint8Array): Uint8Array | undefined {
    return this.#overlay.get(rowKey) ?? undefined;
  }

  scan(range: RowRange, visit: (rowKeyView: Uint8Array, valueView: Uint8Array) => boolean): void {
    const cursor = this.#overlay.cursor(range);
    while (cursor.next()) {
      if (!cursor.isDeleted() && !visit(cursor.keyView(), cursor.valueView())) return;
    }
  }

  put(rowKey: Uint8Array, rowValue: Uint8Array): void {
    this.#overlay.put(rowKey, rowValue);
  }

  delete(rowKey: Uint8Array): void {
    this.#overlay.delete(rowKey);
  }

  prune(): void {
    // Nothing is compacted here.
  }

  prunedTo(): null {
    return null;
  }

  isReadyToScan(table: number): boolean {
    return this.#overlay.isReadyToScan(table);
  }

  prepareScans(): void {
    this.#overlay.prepareScans();
  }
}
