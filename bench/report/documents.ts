/** Where results go: JSON and Markdown under bench/results/, and the marked parts of documents. */
import {existsSync, mkdirSync, readFileSync, writeFileSync} from 'node:fs';
import path from 'node:path';
import {fileURLToPath} from 'node:url';
import {detailSections} from './detail-sections.ts';
import {fillMarkedSections, markedSectionNames} from './marked-sections.ts';
import type {Results} from './results.ts';
import {summarySection} from './summary-table.ts';

const home = findHome();
export const resultsDirectory = path.join(home, 'bench', 'results');
/** Relative to the checkout. */
const documents = ['README.md', path.join('docs', 'performance.md')];

/** The parts a run can fill in, in the order of the report. */
const titles: Readonly<Record<string, string>> = {
  summary: 'Summary',
  machine: 'Machine',
  throughput: 'Throughput',
  'equal-load': 'Latency at equal offered load',
  'one-request': 'Where one write spends its time',
  limits: 'Limits of the machine',
  failover: 'Failover',
  restart: 'Restart',
  'catch-up': 'Catching up by a snapshot',
  'building-blocks': 'Watches, leases and the client',
  soak: 'Soak',
  growth: 'Growth',
  micro: 'Hot parts',
};

/** Returns the path of the JSON file. The newest whole run is also kept as `latest`. */
export function saveResults(results: Results, {isWhole}: {readonly isWhole: boolean}): string {
  mkdirSync(resultsDirectory, {recursive: true});
  const name = results.startedAt.slice(0, 19).replaceAll(':', '-');
  const json = `${JSON.stringify(results, null, 2)}\n`;
  const markdown = reportText(results);
  for (const stem of isWhole ? [name, 'latest'] : [name]) {
    writeFileSync(path.join(resultsDirectory, `${stem}.json`), json);
    writeFileSync(path.join(resultsDirectory, `${stem}.md`), markdown);
  }
  return path.join(resultsDirectory, `${name}.json`);
}

export function loadResults(file: string): Results {
  return JSON.parse(readFileSync(file, 'utf8')) as Results;
}

export function reportText(results: Results): string {
  const sections = allSections(results);
  const parts = Object.entries(titles).flatMap(([name, title]) => {
    const body = sections.get(name);
    return body === undefined ? [] : [`## ${title}\n\n${body}`];
  });
  return `# Measured ${results.startedAt}\n\n${parts.join('\n\n')}\n`;
}

/** Returns the documents that changed. */
export function writeDocuments(results: Results): string[] {
  const sections = allSections(results);
  return documents.filter(name => {
    const file = path.join(home, name);
    if (!existsSync(file)) return false;
    const before = readFileSync(file, 'utf8');
    const after = fillMarkedSections(before, sections);
    if (after !== before) writeFileSync(file, after);
    return after !== before;
  });
}

/** For the test: the document, and the names of its parts that no run fills in. */
export function unknownMarks(): [document: string, name: string][] {
  return documents.flatMap(document => {
    const text = readFileSync(path.join(home, document), 'utf8');
    const names = markedSectionNames(text).filter(name => !Object.hasOwn(titles, name));
    return names.map((name): [string, string] => [document, name]);
  });
}

/** The checkout: compiled files lie at different depths in it. */
function findHome(): string {
  let folder = path.dirname(fileURLToPath(import.meta.url));
  while (!existsSync(path.join(folder, 'package.json'))) {
    const parent = path.dirname(folder);
    if (parent === folder) throw new Error('no package.json above the benchmark');
    folder = parent;
  }
  return folder;
}

function allSections(results: Results): ReadonlyMap<string, string> {
  const sections = new Map(detailSections(results));
  const summary = summarySection(results);
  if (summary !== null) sections.set('summary', summary);
  return sections;
}
