import assert from 'node:assert/strict';
import {test} from 'node:test';
import {limits} from '../base/limits.ts';
import {connectionAllowance, readProcessLimits} from './open-file-limit.ts';

function limitsText(softLimit: string): string {
  return [
    'Limit                     Soft Limit           Hard Limit           Units     ',
    'Max processes             95972                95972                processes ',
    `Max open files            ${softLimit.padEnd(20)} 1048576              files     `,
    'Max locked memory         8388608              8388608              bytes     ',
  ].join('\n');
}

test('with room for all connections, or where nothing is known, nothing is said', () => {
  const all = {connectionCountMax: limits.httpConnectionCountMax, warning: null};
  const enough = limits.httpConnectionCountMax + limits.ownOpenFileCountMax;
  assert.deepEqual(connectionAllowance(limitsText(String(enough))), all);
  assert.deepEqual(connectionAllowance(limitsText('unlimited')), all);
  assert.deepEqual(connectionAllowance('something else'), all);
  assert.deepEqual(connectionAllowance(null), all);
});

test('connections leave room for files, and one line says what to do', () => {
  const {connectionCountMax, warning} = connectionAllowance(limitsText('1024'));
  assert.equal(connectionCountMax, 1024 - limits.ownOpenFileCountMax);
  assert.match(warning ?? '', /may open 1024 files.* raise .* to 10512 .*ulimit -n.*LimitNOFILE/);
  assert.equal(connectionAllowance(limitsText('64')).connectionCountMax, 32);
});

test('what Linux tells is understood', {skip: readProcessLimits() === null}, () => {
  assert.match(readProcessLimits() ?? '', /^Max open files\s+[0-9u]/m);
});
