/** A word as a shell must be given it: commands that are printed are there to be copied. */
export function quoteForShell(word: string): string {
  return /^[A-Za-z0-9_./:=,@-]+$/.test(word) ? word : `'${word.replaceAll("'", "'\\''")}'`;
}
