/**
 * docs/http-api.md as rows: its tables of routes and errors, and section by section its sentences.
 * An example in a fence is one row. Marks of emphasis and code are left out, so that a row reads as
 * the page shows it.
 */
import {readFileSync} from 'node:fs';

export interface DocumentedOperation {
  readonly method: string;
  /** As `/kv/{key}`. */
  readonly route: string;
  readonly parameters: readonly string[];
}

export interface DocumentedError {
  readonly code: string;
  readonly status: number;
  readonly outcome: string;
  readonly title: string;
}

export interface Page {
  readonly operations: readonly DocumentedOperation[];
  readonly errors: ReadonlyMap<string, DocumentedError>;
  /** By the title of the section, in the order of the page. */
  readonly sections: ReadonlyMap<string, readonly string[]>;
}

/** A sentence ends with a full stop; what begins the next one is a capital, a digit or a mark. */
const betweenSentences = /(?<=\.)\s+(?=[A-Z0-9`*"])/;

export function readPage(): Page {
  const lines = readFileSync('docs/http-api.md', 'utf8').split('\n');
  const sections = new Map<string, string[]>();
  let rows: string[] = [];
  let paragraph: string[] = [];
  let isFenced = false;
  const endParagraph = (): void => {
    const text = paragraph.join(' ');
    rows.push(...text.split(betweenSentences).filter(sentence => sentence !== ''));
    paragraph = [];
  };
  for (const line of lines) {
    if (line.startsWith('```')) {
      if (isFenced) rows.push(paragraph.splice(0).join(' '));
      else endParagraph();
      isFenced = !isFenced;
    } else if (isFenced) {
      paragraph.push(line.trim());
    } else if (line.startsWith('#')) {
      endParagraph();
      rows = [];
      sections.set(line.replace(/^#+ /, ''), rows);
    } else if (line === '' || line.startsWith('|')) {
      endParagraph();
    } else {
      if (line.startsWith('- ')) endParagraph();
      paragraph.push(line.trim().replace(/^- /, ''));
    }
  }
  endParagraph();
  const shown = [...sections].map(
    ([title, texts]) => [title, texts.map(text => text.replaceAll(/\*\*|`/g, ''))] as const,
  );
  const text = lines.join('\n');
  return {operations: operationsOf(text), errors: errorsOf(text), sections: new Map(shown)};
}

function operationsOf(text: string): DocumentedOperation[] {
  const rows = text.matchAll(/^\| `(\/[^`]*)` \| ([A-Z]+) \| ([^|]*) \|/gm);
  return [...rows].map(([, route = '', method = '', parameters = '']) => ({
    method,
    route,
    parameters: [...parameters.matchAll(/`([^`]+)`/g)].map(([, name = '']) => name),
  }));
}

function errorsOf(text: string): Map<string, DocumentedError> {
  const rows = text.matchAll(/^\| `([A-Z_]+)` \| (\d+) \| (\w+) \| (.*) \|$/gm);
  return new Map(
    [...rows].map(([, code = '', status = '', outcome = '', title = '']) => [
      code,
      {code, status: Number(status), outcome, title},
    ]),
  );
}
