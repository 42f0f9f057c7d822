/**
 * What one fuzzed parser is: the inputs it is given and the property that must hold for each. A
 * property throws when it does not hold; otherwise it says what became of the input, so that a
 * target whose inputs are all accepted or all refused can be noticed.
 */
import type fc from 'fast-check';

export type Verdict = 'accepted' | 'refused';

export interface OpenedTarget<T> {
  readonly inputs: fc.Arbitrary<T>;
  check(input: T): Verdict | Promise<Verdict>;
  /** What the parser is fed for `input`, to be printed. */
  bytesOf(input: T): Uint8Array;
  close(): void | Promise<void>;
}

export interface FuzzTarget {
  readonly name: string;
  /** Share of the cases of a run over all targets, 1 to 10: what a case costs decides. */
  readonly share: number;
  /** Calls `use` with the opened target, whose type of input only the target knows. */
  open<R>(use: <T>(opened: OpenedTarget<T>) => Promise<R>): Promise<R>;
}

/** A target that holds files, sockets or prepared images while it is open. */
export function openedTarget<T>(
  head: {readonly name: string; readonly share: number},
  open: () => OpenedTarget<T> | Promise<OpenedTarget<T>>,
): FuzzTarget {
  return {
    ...head,
    async open(use) {
      const opened = await open();
      try {
        return await use(opened);
      } finally {
        await opened.close();
      }
    },
  };
}

export function pureTarget<T>(
  head: {readonly name: string; readonly share: number},
  parts: Omit<OpenedTarget<T>, 'close'>,
): FuzzTarget {
  return openedTarget(head, () => ({...parts, close: () => undefined}));
}
