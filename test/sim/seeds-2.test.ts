import {test} from 'node:test';
import {mustHold} from './must-hold.ts';

test('whole clusters keep every promise, seeds 151 to 300', () => {
  mustHold({first: 151, count: 150});
});
