import {test} from 'node:test';
import {mustHold} from './must-hold.ts';

test('whole clusters keep every promise, seeds 226 to 300', () => {
  mustHold({first: 226, count: 75});
});
