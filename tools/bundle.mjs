/**
 * Joins what the compiler wrote into a few files, dist/program/: a node that loads four hundred
 * modules one by one is twice as long in starting. What stays outside is lmdb, which finds its
 * native code beside itself.
 */
import path from 'node:path';

/** The program, the launcher's view of it, and the thread it starts, which must lie beside it. */
const entryFiles = ['src/cli/main.js', 'src/cli/launcher.js', 'src/storage/checkpoint-worker.js'];

/** Packages in the older module format call `require`, which a module has to make for itself. */
const requireBanner =
  "import {createRequire as createRequireOfBundle} from 'node:module';\n" +
  'const require = createRequireOfBundle(import.meta.url);';

/** Throws when a file is missing or does not parse. `home` is the checkout. */
export async function bundle(home) {
  // Not there before the packages are installed.
  const {build, stop} = await import('esbuild');
  try {
    await build({
      absWorkingDir: home,
      entryPoints: entryFiles.map(file => path.join('dist', file)),
      outdir: path.join('dist', 'program'),
      entryNames: '[name]',
      bundle: true,
      splitting: true,
      format: 'esm',
      platform: 'node',
      target: 'node20',
      external: ['lmdb'],
      banner: {js: requireBanner},
      sourcemap: true,
      sourcesContent: false,
      logLevel: 'silent',
    });
  } finally {
    // Its process would otherwise live as long as this one, which may become a launcher.
    await stop();
  }
}
