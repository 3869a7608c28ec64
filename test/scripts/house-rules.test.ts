/** The house rules find what they are for, and only that. */
import assert from 'node:assert/strict';
import { test } from 'node:test';

const script = new URL('../../../scripts/house-rules.mjs', import.meta.url);
const { violations } = (await import(script.href)) as {
  violations(file: string, text: string): string[];
};

test('a violation names the file, the line, the call, the rule and the way out', () => {
  assert.deepEqual(violations('src/dataplane/forward/lane.ts', 'let a;\nconst t = Date.now();\n'), [
    'src/dataplane/forward/lane.ts:2: Date.now breaks the rule "no clock of its own": take a Clock (src/control/runtime.ts)',
  ]);
});

test('every forbidden call is found in the data plane', () => {
  for (const call of [
    'Date.now()',
    'new Date()',
    'performance.now()',
    'process.hrtime.bigint()',
    'setTimeout(f, 1)',
    'setInterval(f, 1)',
    'setImmediate(f)',
    "import { setTimeout as sleep } from 'node:timers/promises';",
    "import timers from 'timers';",
    'AbortSignal.timeout(5)',
    'Math.random()',
    'process.exit(1)',
    'process.abort()',
    "console.error('')",
    'process.stdout.write(text)',
    'fs.writeSync(2, text)',
  ]) {
    assert.equal(violations('src/dataplane/io/pool.ts', `  ${call}\n`).length, 1, call);
  }
});

test('each allowance is for its own place only', () => {
  const found = (file: string, text: string) => violations(file, text).length;
  assert.equal(found('src/cli/up.ts', 'random: Math.random,'), 0);
  assert.equal(found('src/cli/down.ts', 'Math.random()'), 1);
  assert.equal(found('src/control/daemon/lifecycle.ts', 'process.exit(code);'), 0);
  assert.equal(found('src/control/daemon/daemon.ts', 'process.exit(code);'), 1);
  assert.equal(found('src/cli/weft.ts', 'process.exit(code);'), 1);
  assert.equal(found('src/lab/etcd.ts', 'Date.now(); setTimeout(f, 1);'), 0);
  assert.equal(found('src/control/daemon/daemon.ts', 'setTimeout(f, 1);'), 1);
  assert.equal(found('src/lab/etcd.ts', 'process.exit(1);'), 1);
});

test('members are private by #, but for constructors', () => {
  const found = (text: string, file = 'src/lab/lab.ts') => violations(file, text);
  for (const line of [
    'private readonly log: Log;',
    'private count = 0;',
    'protected stop(): void {',
    'private static async *lines() {',
  ]) {
    assert.equal(found(`  ${line}\n`).length, 1, line);
  }
  assert.deepEqual(found('class A {\n  private count = 0;\n}\n'), [
    'src/lab/lab.ts:2: private breaks the rule "private to the program, not to its types alone": write #name',
  ]);
  for (const line of [
    'private constructor(log: Log) {',
    'protected constructor(',
    "['--propagation', 'private'],",
    'let pair: { private: string };',
    'private: secret,',
    '#count = 0;',
  ]) {
    assert.deepEqual(found(`  ${line}\n`), [], line);
  }
});

test('comments are not searched, and do not move the lines', () => {
  const text = '/**\n * process.exit() would hang.\n */\nconst a = 1; // Date.now is not for us\n';
  assert.deepEqual(violations('src/dataplane/io/pool.ts', text), []);
  assert.match(
    violations('src/dataplane/io/pool.ts', `${text}const u = 'http://x'; Date.now();`)[0]!,
    /^src\/dataplane\/io\/pool\.ts:5: /,
  );
  assert.equal(violations('src/dataplane/io/pool.ts', '"http:// " + Date.now()').length, 1);
});
