/**
 * `npm run test-packages`: the packages, then the documents, each a program of Node's test runner. With
 * arguments, which are those of packages.ts, the packages alone.
 */
import { spawnSync } from 'node:child_process';
import process from 'node:process';
import { fileURLToPath } from 'node:url';

const args = process.argv.slice(2);
for (const name of args.length > 0 ? ['packages.js'] : ['packages.js', 'documents.js']) {
  const program = fileURLToPath(new URL(name, import.meta.url));
  const argv = ['--test-reporter=spec', program, ...args];
  const { status } = spawnSync(process.execPath, argv, { stdio: ['ignore', 'inherit', 'inherit'] });
  if (status !== 0) process.exitCode = status ?? 1;
}
