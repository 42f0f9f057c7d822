/** A table of Markdown whose columns also line up as text: words left, figures right. */

export function markdownTable(
  header: readonly string[],
  rows: readonly (readonly string[])[],
): string {
  const widths = header.map((title, i) =>
    Math.max(3, title.length, ...rows.map(row => (row[i] ?? '').length)),
  );
  const isWords = header.map((_, i) => i === 0 || !rows.some(row => /^[-\d]/.test(row[i] ?? '')));
  const line = (cells: readonly string[]): string => {
    const padded = widths.map((width, i) => {
      const cell = cells[i] ?? '';
      return isWords[i] === true ? cell.padEnd(width) : cell.padStart(width);
    });
    return `| ${padded.join(' | ')} |`;
  };
  const rule = widths.map((width, i) =>
    isWords[i] === true ? '-'.repeat(width) : `${'-'.repeat(width - 1)}:`,
  );
  return [line(header), `| ${rule.join(' | ')} |`, ...rows.map(line)].join('\n');
}
