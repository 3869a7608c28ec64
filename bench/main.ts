/**
 * `npm run bench -- [layer] [its options]`: starts one of the bench's programs, side-by-side
 * unless another is named.
 */
import process from 'node:process';
import { fileURLToPath } from 'node:url';
import { overlayLacks } from './overlays.js';

const LAYERS = ['side-by-side', 'micro', 'quiet-lane', 'memory', 'join'];

/** `--systems=…` less the overlays that are not installed; each is named with what to install. */
function withoutMissing(word: string): string {
  const option = '--systems=';
  if (!word.startsWith(option)) return word;
  const present = word
    .slice(option.length)
    .split(',')
    .filter((system) => {
      const lacks = overlayLacks(system);
      if (lacks !== undefined) console.error(lacks);
      return lacks === undefined;
    });
  return option + present.join(',');
}

const named = process.argv[2] ?? '';
const layer = named === '' || named.startsWith('-') ? LAYERS[0]! : named;
if (LAYERS.includes(layer)) {
  // The program reads its own arguments, and a lab runs it again by its own name.
  const script = fileURLToPath(new URL(`./${layer}.js`, import.meta.url));
  process.argv.splice(1, layer === named ? 2 : 1, script);
  process.argv = process.argv.map(withoutMissing);
  await import(script);
} else {
  console.error(`no bench ${layer}; there are ${LAYERS.join(', ')}`);
  process.exitCode = 2;
}
