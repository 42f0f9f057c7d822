import {test} from 'node:test';
import {mustHold} from './must-hold.ts';

test('whole clusters keep every promise, seeds 1 to 150', () => {
  mustHold({first: 1, count: 150});
});
