/**
 * No allocation per packet: what a lane does for a million packets must not fill the young
 * generation once. Seen in V8's own trace, since no observer sees a lane's collections.
 */
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import process from 'node:process';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';

/** Scavenges between the two forced collections of the child. */
function scavenges(...more: string[]): number {
  const child = fileURLToPath(new URL('./allocation-child.js', import.meta.url));
  const flags = ['--trace-gc', '--expose-gc', '--max-semi-space-size=1'];
  const done = spawnSync(process.execPath, [...flags, child, ...more], {
    encoding: 'utf8',
    timeout: 120_000,
  });
  assert.equal(done.status, 0, done.stderr);
  const lines = done.stdout.split('\n').filter((line) => / ms: /.test(line));
  const forced = lines.flatMap((line, i) => (/Mark-(Compact|sweep)/i.test(line) ? [i] : []));
  assert.ok(forced.length >= 2, `no two forced collections in:\n${done.stdout}`);
  const between = lines.slice(forced.at(-2)! + 1, forced.at(-1)!);
  return between.filter((line) => line.includes('Scavenge')).length;
}

test('a million packets, no scavenge', () => {
  assert.equal(scavenges(), 0);
});

test('a million packets that are shown, no scavenge but for the time of each batch', () => {
  assert.ok(scavenges('shown') <= 1);
});

test('an object a packet is seen', () => {
  const seen = scavenges('planted');
  assert.ok(seen > 0, 'the harness is blind');
});
