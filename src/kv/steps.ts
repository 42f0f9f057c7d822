/**
 * Work that is done in short steps: between two of them it stands still, its runner may let other
 * work go first, and it holds no view of a row.
 */
export type Steps<T> = Generator<undefined, T, undefined>;

/** What one step looks at, reads and changes: a few tenths of a millisecond each. */
export const stepRowCountMax = 128;
export const stepSizeBytesMax = 256 * 1024;
export const stepChangeCountMax = 64;
