/**
 * The habits of the house that no other tool checks: sizes, names, headers, one title per document,
 * no loose ends, and a glossary whose identifiers exist. Prints one line per fault.
 */
import fs from 'node:fs';
import path from 'node:path';
import {home, listFiles} from './setup.mjs';

const lineCountTarget = 400;
const lineCountMax = 600;
const columnCountMax = 100;

/** Source files above the target, each with the reason why it is one thing. Shrink, never grow. */
const longFiles = new Map([]);

const bannedNames = /^(utils?|common|types|helpers?|misc|shared|index)\.ts$/;
/** The entrance of the package for programs that embed a node. */
const allowedNames = new Set(['src/index.ts']);

const faults = [];
const sources = ['src', 'test', 'bench', 'examples']
  .flatMap(listFiles)
  .filter(file => file.endsWith('.ts'));
for (const file of sources) checkSource(file);
for (const file of listFiles('tools')) checkLines(file, read(file));
for (const file of ['README.md', 'ARCHITECTURE.md', ...listFiles('docs')]) {
  if (file.endsWith('.md') && fs.existsSync(path.join(home, file))) checkDocument(file);
}
for (const file of longFiles.keys()) {
  if (!fs.existsSync(path.join(home, file))) fault(file, 'is listed as long but does not exist');
}
checkGlossary('docs/glossary.md');

for (const line of faults) process.stdout.write(`${line}\n`);
process.exitCode = faults.length === 0 ? 0 : 1;

function checkSource(file) {
  const text = read(file);
  const name = path.basename(file);
  if (bannedNames.test(name) && !allowedNames.has(file))
    fault(file, 'has a name that says nothing');
  if (!/^[a-z0-9]+(-[a-z0-9]+)*(\.(test|bench))?\.ts$/.test(name)) fault(file, 'is not kebab-case');
  const isTest = name.endsWith('.test.ts');
  if (!isTest && !text.startsWith('/**')) fault(file, 'has no header comment');
  checkLines(file, text);
  const lineCount = text.split('\n').length - 1;
  const isLong = lineCount > lineCountTarget;
  if (isLong && !isTest && file.startsWith('src/') && !longFiles.has(file)) {
    fault(file, `has ${lineCount} lines; split it, or list it in tools/tidy.mjs with a reason`);
  }
  if (!isLong && longFiles.has(file)) fault(file, 'is not long any more; take it off the list');
  if (file.startsWith('src/') && !isTest) checkHotHabits(file, text);
}

/** What costs a call each time, in code that runs for every entry. */
function checkHotHabits(file, text) {
  // As a global it is a getter, which compiled code calls anew each time.
  if (/\bBuffer\.\w/.test(text) && !/^import \{.*\bBuffer\b.*\} from 'node:buffer'/m.test(text)) {
    fault(file, 'takes Buffer from the global scope; import it from node:buffer');
  }
}

function checkLines(file, text) {
  const lines = text.split('\n');
  if (lines.length - 1 > lineCountMax) fault(file, `has more than ${lineCountMax} lines`);
  for (const [i, line] of lines.entries()) {
    if (line.length > columnCountMax && !hasLongText(line) && !file.endsWith('.test.ts')) {
      fault(`${file}:${i + 1}`, `has more than ${columnCountMax} columns`);
    }
    // Assembled, so that this line is not its own fault.
    if (new RegExp(`\\b(TO${''}DO|FIX${''}ME|X${''}XX)\\b`).test(line)) {
      fault(`${file}:${i + 1}`, 'leaves something to be done');
    }
    if (/\.only\(/.test(line) && file.endsWith('.test.ts')) {
      fault(`${file}:${i + 1}`, 'runs only a part of its tests');
    }
  }
}

/** A link or a sentence in quotes may not be broken. */
function hasLongText(line) {
  return line.includes('://') || /(['"`])[^'"`]{40,}\1/.test(line);
}

function checkDocument(file) {
  let isCode = false;
  let titleCount = 0;
  for (const line of read(file).split('\n')) {
    if (line.startsWith('```')) isCode = !isCode;
    else if (!isCode && line.startsWith('# ')) titleCount += 1;
  }
  if (titleCount !== 1) fault(file, `has ${titleCount} titles; a document has one`);
  if (isCode) fault(file, 'has a code block that does not end');
  for (const [, target] of read(file).matchAll(/\]\(([^)#\s]+)(?:#[^)]*)?\)/g)) {
    if (target.includes('://')) continue;
    const linked = path.join(home, path.dirname(file), target);
    if (!fs.existsSync(linked)) fault(file, `links to ${target}, which does not exist`);
  }
}

/** Every identifier in the second column of the glossary's table must occur in the sources. */
function checkGlossary(file) {
  if (!fs.existsSync(path.join(home, file))) {
    fault(file, 'is missing');
    return;
  }
  const words = new Set(
    sources
      .filter(name => name.startsWith('src/'))
      .flatMap(name => read(name).match(/[A-Za-z][A-Za-z0-9]*(-[a-z]+)*/g) ?? []),
  );
  for (const line of read(file).split('\n')) {
    const column = line.startsWith('|') ? (line.split('|')[2] ?? '') : '';
    for (const [, identifier] of column.matchAll(/`([^`]+)`/g)) {
      if (!words.has(identifier)) fault(file, `names ${identifier}, which the sources do not`);
    }
  }
}

function read(file) {
  return fs.readFileSync(path.join(home, file), 'utf8');
}

function fault(place, sentence) {
  faults.push(`${place} ${sentence}`);
}
