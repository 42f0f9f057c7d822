/** How far long work has come, in one line of a terminal that is written again and again. */
import {sizeText} from './tables.ts';
import type {VerbOutput} from './verb.ts';

const intervalMs = 100;
const barWidth = 30;

export class ProgressBar {
  readonly #output: VerbOutput;
  readonly #startedAtMs = performance.now();
  #shownAtMs = -Infinity;
  #hasLine = false;

  constructor(output: VerbOutput) {
    this.#output = output;
  }

  /** Of a transfer. `expectedSizeBytes` is an estimate; 0: nobody knows. */
  show(sizeBytes: number, expectedSizeBytes: number): void {
    const share = expectedSizeBytes === 0 ? 0 : sizeBytes / expectedSizeBytes;
    const elapsedMs = Math.max(1, performance.now() - this.#startedAtMs);
    const rate = sizeText((sizeBytes * 1000) / elapsedMs);
    this.showShare(share, `${sizeText(sizeBytes)}  ${rate}/s`);
  }

  /** `share`: 0 to 1, of all that is to be done. */
  showShare(share: number, detail: string): void {
    const nowMs = performance.now();
    if (!this.#output.isNoteTerminal || nowMs - this.#shownAtMs < intervalMs) return;
    this.#shownAtMs = nowMs;
    this.#hasLine = true;
    const shown = Math.min(share, 0.99);
    const bar = '█'.repeat(Math.floor(shown * barWidth)).padEnd(barWidth, '░');
    const percent = `${Math.floor(shown * 100)}`.padStart(3);
    this.#output.note(`\r${bar} ${percent} %  ${detail}\u001b[K`);
  }

  /** Takes the line away. */
  end(): void {
    if (this.#hasLine) this.#output.note('\r\u001b[K');
    this.#hasLine = false;
  }
}
