/** Where results go: JSON and Markdown under bench/results/, and the marked parts of documents. */
import {existsSync, mkdirSync, readFileSync, writeFileSync} from 'node:fs';
import path from 'node:path';
import {fileURLToPath} from 'node:url';
import {detailSections} from './detail-sections.ts';
import {fillMarkedSections} from './marked-sections.ts';
import type {Results} from './results.ts';
import {summarySection} from './summary-table.ts';

/** This file runs as dist/bench/report/documents.js. */
const home = fileURLToPath(new URL('../../..', import.meta.url));
export const resultsDirectory = path.join(home, 'bench', 'results');
const documents = ['README.md', path.join('docs', 'performance.md')];

const titles: Readonly<Record<string, string>> = {
  summary: 'Summary',
  machine: 'Machine',
  throughput: 'Throughput',
  'equal-load': 'Latency at equal offered load',
  'one-request': 'Where one write spends its time',
  limits: 'Limits of the machine',
  failover: 'Failover',
  restart: 'Restart',
  soak: 'Soak',
  growth: 'Growth',
  micro: 'Hot parts',
};

/** Returns the path of the JSON file. The newest run is also kept under a name of its own. */
export function saveResults(results: Results): string {
  mkdirSync(resultsDirectory, {recursive: true});
  const name = results.startedAt.slice(0, 19).replaceAll(':', '-');
  const json = `${JSON.stringify(results, null, 2)}\n`;
  const markdown = reportText(results);
  for (const stem of [name, 'latest']) {
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

function allSections(results: Results): ReadonlyMap<string, string> {
  const sections = new Map(detailSections(results));
  const summary = summarySection(results);
  if (summary !== null) sections.set('summary', summary);
  return sections;
}
