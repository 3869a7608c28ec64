/**
 * What must hold of the source beside the tests: format and lint (Biome), the house rules
 * that Biome cannot express (house-rules.mjs), the format of the C code
 * (clang-format, said loudly where it is not installed), and the arrows between folders
 * (dependency-cruiser). Fails when the latter saw fewer modules than there are files, since
 * it reports "no violations" for modules it never found.
 *
 * Usage: npm run check; npm run format (`--format`) formats, and looks at nothing else.
 */
import { spawnSync } from 'node:child_process';
import fs from 'node:fs';
import path from 'node:path';
import process from 'node:process';
import { fileURLToPath } from 'node:url';
import { violations as houseViolations } from './house-rules.mjs';

const root = path.resolve(path.dirname(fileURLToPath(import.meta.url)), '..');
process.chdir(root);
if (process.argv.length > 2 && process.argv[2] !== '--format') {
  console.error(`what is "${process.argv[2]}"? usage: npm run check, or npm run format`);
  process.exit(2);
}
// In a fresh clone there is nothing yet to check with.
if (!fs.existsSync('node_modules/.weft-stamp')) {
  const setup = spawnSync(process.execPath, ['scripts/setup.mjs'], { stdio: 'inherit' });
  if (setup.status !== 0) process.exit(setup.status ?? 1);
}
if (process.argv[2] === '--format') {
  const argv = ['check', '--write', '.'];
  const { status } = spawnSync('node_modules/.bin/biome', argv, { stdio: 'inherit' });
  process.exit(status ?? 1);
}

const biome = spawnSync('node_modules/.bin/biome', ['check', '--error-on-warnings', '.'], {
  stdio: ['ignore', 'inherit', 'inherit'],
});

const sources = fs
  .readdirSync('src', { recursive: true })
  .map((name) => `src/${String(name).replaceAll(path.sep, '/')}`)
  .filter((name) => name.endsWith('.ts'))
  .sort();
const broken = sources.flatMap((name) => houseViolations(name, fs.readFileSync(name, 'utf8')));
for (const line of broken) console.error(line);
console.error(`house rules: ${sources.length} files searched, ${broken.length} violations`);

const cFiles = ['native', 'bench/c'].flatMap((folder) =>
  fs
    .readdirSync(folder)
    .filter((name) => /\.[ch]$/.test(name))
    .map((name) => path.join(folder, name)),
);
const format = spawnSync('clang-format', ['--dry-run', '--Werror', ...cFiles], {
  stdio: ['ignore', 'inherit', 'inherit'],
});
let cIsRight = format.status === 0;
if (format.error?.code === 'ENOENT') {
  console.error('clang-format: skipped, not installed');
  cIsRight = true;
} else if (format.error !== undefined) console.error(`clang-format: ${format.error.message}`);
else {
  const cure = cIsRight ? '' : `; to format them: clang-format -i ${cFiles.join(' ')}`;
  console.error(`clang-format: ${cFiles.length} files ${cIsRight ? 'right' : 'searched'}${cure}`);
}

const cruise = spawnSync(
  process.execPath,
  [
    'node_modules/dependency-cruiser/bin/dependency-cruise.mjs',
    '--config',
    '.dependency-cruiser.cjs',
    '--output-type',
    'json',
    'src',
  ],
  { encoding: 'utf8', maxBuffer: 1 << 28, stdio: ['ignore', 'pipe', 'inherit'] },
);
let violations = 1;
try {
  const report = JSON.parse(cruise.stdout);
  const seen = report.modules.filter((module) => module.source.startsWith('src/')).length;
  const files = sources.length;
  for (const { rule, from, to } of report.summary.violations) {
    console.error(`architecture: ${from} -> ${to} breaks the rule ${rule.name}`);
  }
  violations = report.summary.violations.length;
  console.error(`architecture: ${seen} of ${files} modules seen, ${violations} violations`);
  if (seen < files || files === 0) violations += 1;
} catch (error) {
  console.error(`architecture: dependency-cruiser gave no report: ${error.message}`);
}
const right = biome.status === 0 && broken.length === 0 && cIsRight && violations === 0;
process.exit(right ? 0 : 1);
