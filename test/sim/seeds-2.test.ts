import {test} from 'node:test';
import {mustHold} from './must-hold.ts';

test('whole clusters keep every promise, seeds 76 to 150', () => {
  mustHold({first: 76, count: 75});
});
