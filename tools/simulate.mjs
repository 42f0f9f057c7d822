/** `npm run simulate -- --help`: sets the checkout up and simulates whole clusters. */
import {withSetup} from './setup.mjs';

await withSetup({}, () => import('../dist/test/sim/main.js'));
