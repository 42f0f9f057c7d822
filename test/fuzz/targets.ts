/** Everything that parses, one row each: what `npm run fuzz` and the fast slice run. */
import {flagTargets} from './flag-targets.ts';
import {frameTargets} from './frame-targets.ts';
import type {FuzzTarget} from './fuzz-target.ts';
import {httpConnectionTarget} from './http-connection-target.ts';
import {httpJsonTargets} from './http-json-targets.ts';
import {httpTextTargets} from './http-text-targets.ts';
import {kvTargets} from './kv-targets.ts';
import {peerConnectionTarget} from './peer-connection-target.ts';
import {smallFileTargets} from './small-file-targets.ts';
import {snapshotTargets} from './snapshot-targets.ts';
import {transportTargets} from './transport-targets.ts';
import {walDirectoryTargets} from './wal-directory-targets.ts';
import {walRecordTargets} from './wal-record-targets.ts';

export const targets: readonly FuzzTarget[] = [
  ...kvTargets,
  ...walRecordTargets,
  ...walDirectoryTargets,
  ...smallFileTargets,
  ...snapshotTargets,
  ...transportTargets,
  ...frameTargets,
  peerConnectionTarget,
  ...httpTextTargets,
  ...httpJsonTargets,
  httpConnectionTarget,
  ...flagTargets,
];
