import {equal} from 'node:assert/strict';
import {test} from 'node:test';
import {nodeId} from './ids.ts';
import {hasShrunk} from './membership.ts';
import {testMembership} from './testing/memory-cluster.ts';

test('a cluster has shrunk when somebody left for good, not with another directory', () => {
  const membership = testMembership({voters: ['1'], learners: ['2']});
  const left = (id: string): typeof membership => {
    return {...membership, removed: [{id: nodeId(id), incarnation: 'aaaaaaaaaaaaaaaa'}]};
  };
  equal(hasShrunk(membership), false);
  equal(hasShrunk(left('2')), false);
  equal(hasShrunk(left('3')), true);
});
