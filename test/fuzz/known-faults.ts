/**
 * Faults of the sources that fuzzing has found. A failure that a row describes is counted and does
 * not end the run; the row goes together with the fault, and the target then holds without it.
 */

export interface KnownFault {
  readonly target: string;
  /** Of the text of the failure. */
  readonly pattern: RegExp;
  readonly sentence: string;
}

export const knownFaults: readonly KnownFault[] = [
  {
    target: 'http-connection',
    pattern: /a write behind a closing answer is carried out/,
    sentence: 'what a client pipelines behind an answer that closes still happens, unanswered',
  },
  {
    target: 'http-connection',
    pattern: /a refusal of bytes stands in the place of the answer to a write/,
    sentence: 'a DELETE is carried out before its body has arrived, and a broken body answers 400',
  },
  {
    target: 'frames',
    pattern: /a frame whose kind and fourth byte are changed alike/,
    sentence: 'a bit flipped in the kind of a frame and its twin in the fourth byte cancel out',
  },
];

export function findKnownFault(target: string, error: unknown): KnownFault | null {
  const text = error instanceof Error ? String(error.stack) : String(error);
  return knownFaults.find(fault => fault.target === target && fault.pattern.test(text)) ?? null;
}
