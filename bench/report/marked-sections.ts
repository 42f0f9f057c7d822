/**
 * Documents with parts that a run fills in: everything between `<!-- bench:NAME -->` and
 * `<!-- /bench:NAME -->`, each on a line of its own.
 */

const sectionPattern = /^(<!-- bench:([a-z-]+) -->\n)[^]*?(^<!-- \/bench:\2 -->)$/gm;

/** Names of the parts that are complete. */
export function markedSectionNames(document: string): string[] {
  return [...document.matchAll(sectionPattern)].map(match => match[2] ?? '');
}

/** Replaces the parts that `sections` has; the others, and all around them, stay as they are. */
export function fillMarkedSections(
  document: string,
  sections: ReadonlyMap<string, string>,
): string {
  return document.replaceAll(
    sectionPattern,
    (whole: string, begin: string, name: string, end: string) => {
      const body = sections.get(name);
      return body === undefined ? whole : `${begin}${body.trimEnd()}\n${end}`;
    },
  );
}
