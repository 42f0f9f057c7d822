import assert from 'node:assert/strict';
import {readdirSync, readFileSync} from 'node:fs';
import path from 'node:path';
import {test} from 'node:test';

interface Link {
  readonly file: string;
  /** The heading, as its anchor; empty: the document as a whole. */
  readonly anchor: string;
}

/** The links of a document to files of this project. */
function links(file: string): Link[] {
  const text = readFileSync(file, 'utf8');
  return [...text.matchAll(/\]\(([^)\s]+)\)/g)].flatMap(([, target = '']) => {
    if (target.includes('://')) return [];
    const [name = '', anchor = ''] = target.split('#');
    return {file: name === '' ? file : path.join(path.dirname(file), name), anchor};
  });
}

/** As the anchors of headings are made of their texts. */
function anchors(file: string): Set<string> {
  const headings = readFileSync(file, 'utf8').matchAll(/^#+ (.+)$/gm);
  return new Set(
    [...headings].map(([, heading = '']) =>
      heading
        .toLowerCase()
        .replaceAll(/[^\p{L}\p{N} _-]/gu, '')
        .replaceAll(' ', '-'),
    ),
  );
}

const documents = [
  'README.md',
  'ARCHITECTURE.md',
  ...['docs', 'examples'].flatMap(folder =>
    readdirSync(folder)
      .filter(name => name.endsWith('.md'))
      .map(name => path.join(folder, name)),
  ),
];

test('every document is found by following links from the README', () => {
  const found = new Set(['README.md']);
  for (const file of found) {
    for (const link of links(file)) if (documents.includes(link.file)) found.add(link.file);
  }
  assert.ok(documents.length > 10, 'the documents are read from where they are');
  assert.deepEqual(
    [...documents].filter(file => !found.has(file)),
    [],
  );
});

test('a link to a heading leads to one', () => {
  const broken = documents.flatMap(from =>
    links(from)
      .filter(({file, anchor}) => anchor !== '' && !anchors(file).has(anchor))
      .map(({file, anchor}) => `${from}: ${file}#${anchor}`),
  );
  assert.deepEqual(broken, []);
});
