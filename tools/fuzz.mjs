/** `npm run fuzz -- --help`: sets the checkout up and feeds its parsers what nobody would send. */
import {withSetup} from './setup.mjs';

await withSetup({}, () => import('../dist/test/fuzz/main.js'));
