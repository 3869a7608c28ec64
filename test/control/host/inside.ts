/**
 * Lets a test file of the host code run itself again inside `unshare --net --mount`, against a real
 * kernel in a network namespace of its own, and what such tests share.
 *
 *     lo    flannel.1 (a persistent TUN)    eth0 ═══ eth1 (veth, 192.168.64.3/24)
 */
import assert from 'node:assert/strict';
import { execFileSync, spawnSync } from 'node:child_process';
import fs from 'node:fs';
import test from 'node:test';
import { fileURLToPath } from 'node:url';
import { Ip } from '../../../src/control/host/ip.js';
import { systemRunner } from '../../../src/control/host/runner.js';
import { labLacks } from '../../../src/lab/enter.js';
import { tellSkipped } from '../../inner-run.js';
import { realTimers } from './fakes.js';

const INSIDE = 'WEFT_TEST_INSIDE';
export const NETWORK = '10.10.0.0/16';
export const WANTED = { name: 'flannel.1', mtu: 1450, address: '10.10.69.0', network: NETWORK };

/** `define` defines the tests of the file `url`; they are run in its namespace. */
export function inNamespace(name: string, url: string, define: () => void): void {
  if (process.env[INSIDE] === '1') {
    ip('link set lo up');
    ip('link add eth0 type veth peer name eth1');
    ip('link set eth0 up');
    ip('link set eth1 up');
    ip('addr add 192.168.64.3/24 dev eth0');
    define();
    return;
  }
  test(name, { skip: missing() }, async (t) => {
    const env: NodeJS.ProcessEnv = { ...process.env, [INSIDE]: '1' };
    // Else the inner run would report in the outer runner's own format.
    delete env.NODE_TEST_CONTEXT;
    const self = fileURLToPath(url);
    const node = [process.execPath, '--enable-source-maps', '--test-reporter=tap', self];
    const args = ['--net', '--mount', ...node];
    const done = spawnSync('unshare', args, { env, encoding: 'utf8', timeout: 120_000 });
    assert.equal(done.status, 0, `${done.stdout}\n${done.stderr}`);
    assert.match(done.stdout, /# fail 0/);
    for (const [note] of done.stdout.matchAll(/^# .* ms$/gm)) t.diagnostic(note.slice(2));
    await tellSkipped(t, done.stdout);
  });
}

function missing(): string | false {
  if (process.getuid?.() !== 0) return 'needs root for a network namespace';
  return labLacks({ tun: true }) ?? false;
}

export function ip(text: string): string {
  return execFileSync('ip', text.split(' '), { encoding: 'utf8', stdio: 'pipe' });
}

/** The TUN's routes as `ip route` prints them, without the "linkdown" of a TUN nobody holds. */
export function routes(device = 'flannel.1'): string[] {
  const lines = ip(`-4 route show dev ${device}`).split('\n');
  return lines.map((line) => line.replace('linkdown', '').trim()).filter((line) => line !== '');
}

export function makeTun(): void {
  if (ip('-br link').includes('flannel.1')) ip('link del flannel.1');
  ip('tuntap add dev flannel.1 mode tun');
}

/** A fresh TUN and an `ip` child that ends with the test. */
export function rig(t: { after(call: () => Promise<void>): void }): Ip {
  makeTun();
  const child = new Ip(systemRunner, realTimers);
  t.after(() => child.close());
  return child;
}

export function sysctl(key: string, value?: number): string {
  const file = `/proc/sys/net/${key}`;
  if (value !== undefined) fs.writeFileSync(file, `${value}\n`);
  return fs.readFileSync(file, 'utf8').trim();
}

/** Makes the journal's owner a process that has ended. */
export function disown(file: string): void {
  const content = JSON.parse(fs.readFileSync(file, 'utf8'));
  content.owner.startTime = '1';
  fs.writeFileSync(file, JSON.stringify(content));
}
