/** How verbs show things to people: name and value, columns, sizes, times. */

export type Pair = readonly [name: string, value: string | number];

export function pairsText(pairs: readonly Pair[]): string {
  const width = Math.max(...pairs.map(([name]) => name.length));
  return pairs.map(([name, value]) => `${name.padEnd(width)}   ${value}\n`).join('');
}

export interface Column {
  readonly title: string;
  /** Numbers stand at the right. */
  readonly align?: 'right';
  /** Adds no width. */
  readonly paint?: (text: string) => string;
}

/** Columns two spaces apart, as wide as their widest cell. */
export class Table {
  readonly #columns: readonly Column[];
  readonly #widths: number[];

  constructor(columns: readonly Column[]) {
    this.#columns = columns;
    this.#widths = columns.map(column => characterCount(column.title));
  }

  /** What is left of a line for the last column, once the others were measured. */
  restWidth(columnCount: number): number {
    const taken = this.#widths.slice(0, -1).reduce((sum, width) => sum + width + 2, 0);
    return Math.max(columnCount - taken, 16);
  }

  /** Makes room for these rows; columns never become narrower. */
  measure(rows: readonly (readonly string[])[]): void {
    for (const row of rows) {
      for (const [i, cell] of row.entries()) {
        this.#widths[i] = Math.max(this.#widths[i] ?? 0, characterCount(cell));
      }
    }
  }

  head(paint: (text: string) => string): string {
    return `${paint(
      this.#line(
        this.#columns.map(({title}) => title),
        false,
      ),
    )}\n`;
  }

  rows(rows: readonly (readonly string[])[]): string {
    return rows.map(row => `${this.#line(row, true)}\n`).join('');
  }

  #line(cells: readonly string[], isPainted: boolean): string {
    const last = cells.length - 1;
    const shown = cells.map((cell, i) => {
      const column = this.#columns[i];
      const text = isPainted && column?.paint !== undefined ? column.paint(cell) : cell;
      const space = ' '.repeat(Math.max((this.#widths[i] ?? 0) - characterCount(cell), 0));
      if (column?.align === 'right') return space + text;
      return i === last ? text : text + space;
    });
    return shown.join('  ').trimEnd();
  }
}

function characterCount(text: string): number {
  return Array.from(text).length;
}

const timeUnits: readonly (readonly [name: string, seconds: number])[] = [
  ['d', 86_400],
  ['h', 3_600],
  ['min', 60],
  ['s', 1],
];

/** `3 d 4 h`, `12 min 5 s`, `8 s`. */
export function durationText(seconds: number): string {
  let rest = Math.floor(seconds);
  const parts: string[] = [];
  for (const [name, size] of timeUnits) {
    const count = Math.floor(rest / size);
    if (count > 0 || parts.length > 0) parts.push(`${count} ${name}`);
    rest -= count * size;
  }
  return (
    parts
      .slice(0, 2)
      .join(' ')
      .replace(/ 0 \w+$/, '') || '0 s'
  );
}

/** `1 key`, `12,345 keys`. */
export function keysText(count: number): string {
  return `${countText(count)} ${count === 1 ? 'key' : 'keys'}`;
}

/** `12,345`. */
export function countText(count: number): string {
  return count.toLocaleString('en-US');
}

/** `1.5 MB`; powers of ten. */
export function sizeText(sizeBytes: number): string {
  const units = ['bytes', 'kB', 'MB', 'GB', 'TB'];
  let value = sizeBytes;
  let unit = 0;
  while (value >= 1000 && unit < units.length - 1) {
    value /= 1000;
    unit += 1;
  }
  const shown = unit === 0 || value >= 100 ? Math.round(value) : Math.round(value * 10) / 10;
  return `${shown} ${units[unit] ?? ''}`;
}
