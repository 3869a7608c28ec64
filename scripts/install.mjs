/**
 * What `npm install` runs where weft is installed as a package: nothing where the addon that came with
 * it fits this machine, else it is built. `npm install --ignore-scripts` leaves this out, which does
 * no harm where the addon fits.
 */
import { createRequire } from 'node:module';
import path from 'node:path';
import process from 'node:process';
import { fileURLToPath } from 'node:url';
import * as cLibrary from '../dist/src/dataplane/io/c-library.js';
import { BUILT, buildAddon, otherLibrary, prebuilt } from './addon.mjs';

const root = path.resolve(path.dirname(fileURLToPath(import.meta.url)), '..');
const native = path.join(root, 'native');
const require = createRequire(import.meta.url);

/** Why what came is not taken; undefined where it is. */
function whyNotThat() {
  const file = path.join(native, prebuilt(process.arch));
  const other = cLibrary.mismatch(file);
  if (other !== undefined) return `that is for ${other.addon}, this Node for ${other.node}`;
  try {
    require(file);
    return undefined;
  } catch (error) {
    return error instanceof Error ? error.message.split('\n')[0] : String(error);
  }
}

const unfit = whyNotThat();
if (unfit !== undefined) {
  const headers = path.join(
    path.dirname(require.resolve('node-api-headers/package.json')),
    'include',
  );
  const file = path.join(native, BUILT);
  const compiler = process.env.CC ?? 'cc';
  const fits = otherLibrary(compiler, cLibrary);
  const why = buildAddon({ native, headers, compiler, file, unfit: fits });
  if (why !== undefined) {
    process.stderr.write(
      `weft: no built addon fits this machine (${process.arch}: ${unfit}), and ${why}; then install weft again\n`,
    );
    process.exit(1);
  }
  process.stderr.write(`weft: built the addon for this machine (${process.arch})\n`);
}
