/** The least that a request can be answered with. */
import type {Answer} from '../../src/api/http/wire.ts';

export const noContent: Answer = {
  status: 204,
  type: null,
  sizeBytes: 0,
  revision: 0,
  vary: 'Accept',
  more: [],
  body: null,
  ending: 'keep',
};
