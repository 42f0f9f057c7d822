import assert from 'node:assert/strict';
import fs from 'node:fs';
import {test} from 'node:test';
import {nodeProcessEnvironment, nodeProcessFlags} from './node-process-settings.ts';

test('./rosetta starts a node with the same settings', () => {
  const script = fs.readFileSync(new URL('../../../rosetta', import.meta.url), 'utf8');
  const exported = [...script.matchAll(/^export (\w+)="\$\{\1:-(\w+)\}"$/gm)];
  const settings: Record<string, string> = {};
  for (const [, name = '', value = ''] of exported) settings[name] = value;
  assert.deepEqual(settings, nodeProcessEnvironment);
  assert.match(script, new RegExp(`^exec node ${nodeProcessFlags.join(' ')} "`, 'm'));
});

test('so does the service of docs/operations.md', () => {
  const page = fs.readFileSync(new URL('../../../docs/operations.md', import.meta.url), 'utf8');
  const environment = Object.entries(nodeProcessEnvironment).map(([name, value]) => {
    return `${name}=${value}`;
  });
  assert.ok(page.includes(`\nEnvironment=${environment.join(' ')}\n`));
  assert.ok(page.includes(`\nExecStart=/usr/bin/node ${nodeProcessFlags.join(' ')} /opt/`));
});
