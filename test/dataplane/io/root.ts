import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import fs from 'node:fs';
import process from 'node:process';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { tellSkipped } from '../../inner-run.js';

/** What keeps these tests from running here, or undefined. */
export function whatTunTestsMiss(): string | undefined {
  if (process.getuid?.() !== 0) return 'needs root, to make a TUN in a network namespace';
  if (!fs.existsSync('/dev/net/tun')) return 'needs /dev/net/tun (modprobe tun)';
  const made = spawnSync('unshare', ['--net', 'ip', 'link'], { encoding: 'utf8' });
  if (made.error) return 'needs unshare, of the package util-linux';
  if (made.status !== 0) return `needs ip and network namespaces: ${made.stderr.trim()}`;
  return undefined;
}

/** Declares a test that runs a file of tests, `least` of them, in a network namespace of its own. */
export function testInNamespace(name: string, file: URL, least: number): void {
  test(name, { timeout: 120_000 }, async (t) => {
    const missing = whatTunTestsMiss();
    if (missing !== undefined) return t.skip(missing);
    const env = { ...process.env };
    delete env.NODE_TEST_CONTEXT; // else it would report to our own runner
    const done = spawnSync(
      'unshare',
      [
        ...['--net', process.execPath, '--enable-source-maps'],
        ...['--test-reporter=spec', fileURLToPath(file)],
      ],
      { encoding: 'utf8', env, timeout: 100_000 },
    );
    assert.equal(done.status, 0, `${done.stdout}\n${done.stderr}`);
    const passed = Number(/pass (\d+)/.exec(done.stdout)?.[1]);
    assert.ok(passed >= least, `only ${passed} ran:\n${done.stdout}`);
    for (const [, line] of done.stdout.matchAll(/^\s*ℹ (.*[:=].*)$/gm)) t.diagnostic(line!);
    await tellSkipped(t, done.stdout);
  });
}
