/**
 * Work that is done in short steps: between two of them it stands still, its runner may let other
 * work go first, and it holds no view of a row.
 */
export type Steps<T> = Generator<undefined, T, undefined>;

/** What one step looks at, reads and changes: a few tenths of a millisecond each. */
export const stepRowCountMax = 128;
export const stepSizeBytesMax = 256 * 1024;
export const stepChangeCountMax = 64;
/** Read at one stretch by a command that has not been divided into steps. */
export const undividedSizeBytesMax = 2 * 1024 * 1024;
/** A row's value is read and checked as a whole: each so many bytes count as another row. */
export const sizeBytesPerRow = 8 * 1024;
