/** The code of a lane's thread is read whole, so that none of it is looked for later. */
import assert from 'node:assert/strict';
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { test } from 'node:test';
import { pathToFileURL } from 'node:url';
import { Worker } from 'node:worker_threads';
import {
  type Program,
  RUN,
  RUN_FLAGS,
  readProgram,
} from '../../../src/dataplane/forward/lane-program.js';

const WORKER = new URL('../../../src/dataplane/forward/worker.js', import.meta.url);

test('every module that any of them imports is there, and nothing is imported later', () => {
  const { entry, sources } = readProgram(WORKER);
  assert.equal(entry, WORKER.href);
  assert.ok(Object.keys(sources).length > 20);
  for (const [url, source] of Object.entries(sources)) {
    // However it is written.
    for (const [, specifier] of source.matchAll(
      /\bfrom\s*["']([^"']+)["']|\bimport\s*["'][^"']+["']/g,
    )) {
      if (specifier?.startsWith('node:')) continue;
      assert.ok(new URL(specifier!, url).href in sources, `${url}: ${specifier}`);
    }
    assert.doesNotMatch(source, /\bimport\s*\(|createRequire|\brequire\(/, url);
  }
});

/** Runs a program in a worker; what it posts, or the error that ended it. */
function run(program: Program, value: number): Promise<unknown> {
  const worker = new Worker(RUN, {
    ...{ eval: true, execArgv: RUN_FLAGS, env: {} },
    workerData: { program, value },
  });
  return new Promise((resolve) => {
    worker.once('message', resolve);
    worker.once('error', resolve);
  });
}

test('it runs from memory: the files are gone, each module once, errors name the file', async (t) => {
  const folder = fs.mkdtempSync(path.join(os.tmpdir(), 'weft-program-'));
  t.after(() => fs.rmSync(folder, { recursive: true, force: true }));
  const put = (name: string, text: string) => fs.writeFileSync(path.join(folder, name), text);
  put(
    'main.js',
    "import { parentPort, workerData } from 'node:worker_threads';\nimport { a } from './a.js';\nimport * as b from './b.js';\nif (workerData.value === 13) throw new RangeError('unlucky');\nparentPort.postMessage([a(), b.count(), workerData.value, 'program' in workerData, import.meta.url]);\n",
  );
  put('a.js', "import {\n  count,\n} from './b.js';\nexport const a = () => count();\n");
  put('b.js', 'let n = 0;\nexport function count() { n += 1; return n; }\n');
  const main = pathToFileURL(path.join(folder, 'main.js'));
  const program = readProgram(main);
  fs.rmSync(folder, { recursive: true });
  assert.deepEqual(await run(program, 7), [1, 2, 7, false, main.href]);
  const error = (await run(program, 13)) as Error;
  assert.match(String(error.stack), /RangeError: unlucky\n {4}at .*main\.js:4/);
});
