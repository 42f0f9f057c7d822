import {FakeRows} from '../../test/contract/fake-rows.ts';
import {testRowStore} from '../../test/contract/row-store-contract.ts';

testRowStore('FakeRows', () => ({
  rows: new FakeRows(),
  settle: () => undefined,
  close: () => undefined,
}));
