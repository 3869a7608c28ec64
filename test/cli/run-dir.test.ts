import assert from 'node:assert/strict';
import path from 'node:path';
import process from 'node:process';
import { test } from 'node:test';
import { parseFlags } from '../../src/cli/flags.js';
import { RUN_DIR, readRunDirectory } from '../../src/cli/run-dir.js';
import { absolute, withPaths } from '../../src/cli/surroundings.js';

type Environment = Readonly<Record<string, string>>;

/** `weft up` reads the environment with its flags, `weft status` does not. */
const read = (args: string[], environment: Environment = {}, asFlags = false) =>
  readRunDirectory(
    parseFlags([RUN_DIR], args, asFlags ? environment : {}),
    environment as NodeJS.ProcessEnv,
  );

test('the flag, then the environment, then systemd, then /run/weft', () => {
  const all = { FLANNELD_RUN_DIR: '/run/b', RUNTIME_DIRECTORY: '/run/weft-c' };
  for (const asFlags of [false, true]) {
    assert.equal(read(['-run-dir=/run/a'], all, asFlags), '/run/a');
    assert.equal(read([], all, asFlags), '/run/b');
    assert.equal(read([], { FLANNELD_RUN_DIR: '' }, asFlags), '/run/weft');
  }
  assert.equal(read([], { RUNTIME_DIRECTORY: '/run/weft-c' }), '/run/weft-c');
  assert.equal(read([]), '/run/weft');
});

test("of systemd's folders that which is weft's; a flanneld's is not", () => {
  const of = (RUNTIME_DIRECTORY: string) => read([], { RUNTIME_DIRECTORY });
  assert.equal(of('/run/flannel'), '/run/weft');
  assert.equal(of('/run/flannel:/run/net/weft'), '/run/net/weft');
  assert.equal(of(''), '/run/weft');
});

test('a relative folder is that of the caller; one that cannot be is refused', () => {
  assert.equal(read(['-run-dir', 'here/x/..']), path.join(process.cwd(), 'here'));
  assert.throws(() => read(['-run-dir=/proc/x']), /-run-dir=\/proc\/x: nothing can be kept there/);
  const longest = `/${'x'.repeat(56)}`;
  assert.equal(read([`-run-dir=${longest}`]), longest);
  assert.throws(() => read([`-run-dir=${longest}x`]), /too long, .* at most 57 bytes/);
  assert.equal(`${longest}/net-4294967295/starting-4294967295-4194304-2.sock`.length, 107);
});

test('paths of files are from the root on, whatever else a flag says stays', () => {
  const known = ['store-file', 'iface'].map(
    (name) => ({ name, kind: 'string', help: '' }) as const,
  );
  const flags = withPaths(parseFlags(known, ['-store-file=a/network.json', '-iface=eth0']));
  assert.equal(flags.text('store-file'), path.join(process.cwd(), 'a/network.json'));
  assert.equal(flags.text('iface'), 'eth0');
  assert.equal(flags.text('subnet-file'), '');
  assert.equal(flags.given('store-file'), true);
  assert.equal(absolute('/a//b', '-x'), '/a/b');
});
