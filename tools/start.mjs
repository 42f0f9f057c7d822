/** `npm start`: sets the checkout up and runs a cluster of three nodes on this machine. */
import {withSetup} from './setup.mjs';

await withSetup({}, () => import('../dist/program/launcher.js'));
