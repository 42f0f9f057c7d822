/** `npm run bench -- --help`: sets the checkout up and measures it. */
import {withSetup} from './setup.mjs';

await withSetup({}, () => import('../dist/bench/main.js'));
