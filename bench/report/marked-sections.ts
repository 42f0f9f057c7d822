/**
 * Documents with parts that a run fills in: everything between `<!-- bench:NAME -->` and
 * `<!-- /bench:NAME -->`, each on a line of its own.
 */

/** Replaces the parts that `sections` has; the others, and all around them, stay as they are. */
export function fillMarkedSections(
  document: string,
  sections: ReadonlyMap<string, string>,
): string {
  return document.replaceAll(
    /^(<!-- bench:([a-z-]+) -->\n)[^]*?(^<!-- \/bench:\2 -->)$/gm,
    (whole: string, begin: string, name: string, end: string) => {
      const body = sections.get(name);
      return body === undefined ? whole : `${begin}${body.trimEnd()}\n${end}`;
    },
  );
}
