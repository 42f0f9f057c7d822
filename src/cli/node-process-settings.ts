/**
 * What a node's process is started with, beside its own flags: settings that libuv, V8 and the C
 * library read before the first line of the program runs. `./rosetta` has the same, as a script.
 */

export const nodeProcessFlags: readonly string[] = [
  // A `__proto__` in what a client sends is a name like any other.
  '--disable-proto=delete',
  // MB. Under load V8 makes semi-spaces of twice the size, and a node at rest keeps them:
  // 17 MB of memory for one hundredth of a processor.
  '--max-semi-space-size=8',
  // Threads that compile and collect beside the event loop, four otherwise: when much of the code
  // becomes hot at once, at the start or with the first snapshot, they took its processors.
  '--v8-pool-size=2',
];

/** What the user has set already wins. */
export const nodeProcessEnvironment: Readonly<Record<string, string>> = {
  // The write-ahead log must never wait for a slow look-up or file call in libuv's pool.
  UV_THREADPOOL_SIZE: '16',
  // For every read of a socket memory comes and goes at the top of the heap, which glibc would
  // give back to the kernel and take again, page by page, thousands of times a second.
  MALLOC_TRIM_THRESHOLD_: '16777216',
  MALLOC_TOP_PAD_: '1048576',
  // With one of the two set glibc no longer learns which sizes come and go: large values neither.
  MALLOC_MMAP_THRESHOLD_: '4194304',
};
