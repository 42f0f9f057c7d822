import assert from 'node:assert/strict';
import {readdirSync, readFileSync} from 'node:fs';
import {dirname, join} from 'node:path';
import {fileURLToPath} from 'node:url';
import {test} from 'node:test';
import {ownErrorTitles} from './client-error.ts';

const here = dirname(fileURLToPath(import.meta.url));

test('docs/client.md lists the codes of the client', () => {
  const text = readFileSync('docs/client.md', 'utf8');
  const section = text.slice(text.indexOf('## Errors'), text.indexOf('## Recipes'));
  const rows = [...section.matchAll(/^\| `([A-Z_]+)` \| (.+) \|$/gm)];
  assert.deepEqual(
    rows.map(([, code, title]) => [code, title]),
    Object.entries(ownErrorTitles),
  );
});

/** Modules that `file` imports, and those that they import, as far as they exist at run time. */
function importedBy(file: string, seen = new Set<string>()): Set<string> {
  if (seen.has(file)) return seen;
  seen.add(file);
  const text = readFileSync(file, 'utf8');
  const imports = /^(?:import|export)\s(?:[^;=]*?\sfrom\s)?["']([^"']+)["'];$/gm;
  for (const [, name = ''] of text.matchAll(imports)) {
    if (name.startsWith('.')) importedBy(join(dirname(file), name), seen);
    else seen.add(name);
  }
  return seen;
}

test('what browsers load imports nothing of Node', () => {
  const modules = [...importedBy(join(here, 'browser-client.js'))];
  assert.deepEqual(
    modules.filter(name => !name.endsWith('.js')),
    [],
  );
  assert.ok(modules.length > 10, 'the search finds what is imported');
  const nodeOnly = [...importedBy(join(here, 'node-client.js'))].filter(
    name => !modules.includes(name),
  );
  assert.ok(nodeOnly.includes('node:net'), 'the search finds what Node brings');
});

test('what browsers load uses no global of Node', () => {
  const modules = [...importedBy(join(here, 'browser-client.js'))];
  for (const file of modules) {
    const code = readFileSync(file, 'utf8').replaceAll(/\/\*[\s\S]*?\*\/|\/\/.*$/gm, '');
    assert.doesNotMatch(code, /\b(?:Buffer|process|setImmediate|require|__dirname)\b/, file);
  }
  assert.ok(readdirSync(here).includes('socket-sender.js'));
});
