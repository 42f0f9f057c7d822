/** How far a transfer has come, in one line of a terminal that is written again and again. */
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

  /** `expectedSizeBytes` is an estimate; 0: nobody knows. */
  show(sizeBytes: number, expectedSizeBytes: number): void {
    const nowMs = performance.now();
    if (!this.#output.isNoteTerminal || nowMs - this.#shownAtMs < intervalMs) return;
    this.#shownAtMs = nowMs;
    this.#hasLine = true;
    const share = expectedSizeBytes === 0 ? 0 : Math.min(sizeBytes / expectedSizeBytes, 0.99);
    const filled = Math.floor(share * barWidth);
    const bar = '█'.repeat(filled).padEnd(barWidth, '░');
    const rate = sizeText((sizeBytes * 1000) / Math.max(1, nowMs - this.#startedAtMs));
    const percent = `${Math.floor(share * 100)}`.padStart(3);
    this.#output.note(`\r${bar} ${percent} %  ${sizeText(sizeBytes)}  ${rate}/s\u001b[K`);
  }

  /** Takes the line away. */
  end(): void {
    if (this.#hasLine) this.#output.note('\r\u001b[K');
    this.#hasLine = false;
  }
}
