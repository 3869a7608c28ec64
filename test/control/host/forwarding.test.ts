import assert from 'node:assert/strict';
import path from 'node:path';
import { test } from 'node:test';
import { bridgesIn } from '../../../src/control/host/bridges.js';
import { whatDoesNotForward } from '../../../src/control/host/forwarding.js';
import { keepSysctl, readSysctl, sysctlCommand } from '../../../src/control/host/sysctls.js';
import { lineOf } from '../../../src/control/runtime.js';
import { plant, scratch } from './fakes.js';

const TUNNEL = 'flannel.1';

/** A /proc where all forwards but these: `host`, or a device. */
function proc(t: { after(call: () => void): void }, ...off: string[]): string {
  const root = scratch(t);
  const value = (name: string) => (off.includes(name) ? '0\n' : '1\n');
  plant(root, { 'proc/sys/net/ipv4/ip_forward': value('host') });
  for (const device of ['default', TUNNEL, 'docker0', 'cni0', 'eth0']) {
    plant(root, { [`proc/sys/net/ipv4/conf/${device}/forwarding`]: value(device) });
  }
  return path.join(root, 'proc');
}

/** Each as the log has it. */
const told = (...asked: Parameters<typeof whatDoesNotForward>) =>
  whatDoesNotForward(...asked).map(lineOf);
const ways = (bridges: string[], direct: string[] = []) => ({ tunnel: TUNNEL, bridges, direct });

test('nothing is said where the devices of packets forward, whatever the host does', (t) => {
  assert.deepEqual(told(ways(['docker0'], ['eth0']), proc(t)), []);
  const closed = proc(t, 'host', 'default', 'eth0', 'cni0');
  assert.deepEqual(told(ways(['docker0']), closed), []);
  assert.deepEqual(told(ways([]), proc(t, 'host')), [], 'a new one would forward');
  assert.deepEqual(told(ways(['docker0']), '/nowhere'), [], 'nothing is known');
});

test('a host that is off: one sentence, which leaves it to Docker, and names what is off with it', (t) => {
  const off = proc(t, 'host', 'default', 'docker0', 'eth0');
  const [bare, ...more] = told(ways([]), off);
  assert.deepEqual(more, []);
  assert.match(
    bare!,
    /^this host does not forward IPv4 \(\/proc\/sys\/net\/ipv4\/ip_forward is 0\)/,
  );
  assert.match(
    bare!,
    /reach no other host; do: sysctl -w net\.ipv4\.ip_forward=1; echo net\.ipv4\.ip_forward=1 > \/etc\/sysctl\.d\/50-forward\.conf {3}\(where Docker is/,
  );
  const [named] = told(ways(['docker0'], ['eth0']), off);
  assert.match(named!, /is 0, and so it is for docker0, eth0\), so/);
  const all = proc(t, 'host', 'docker0', TUNNEL);
  const both = told(ways(['docker0']), all);
  assert.equal(both.length, 1, 'the one command mends both');
  assert.match(both[0]!, /so it is for flannel\.1, docker0\)/);
});

test('single devices of a host that is on: each with its file and its command', (t) => {
  const lines = told(
    ways(['cni0', 'docker0'], ['eth0']),
    proc(t, 'cni0', 'docker0', 'eth0', TUNNEL),
  );
  const commands = lines.map((line) => line.split('; do: ').at(-1));
  assert.deepEqual(commands, [
    'sysctl -w net/ipv4/conf/flannel.1/forwarding=1   (on the host)',
    'sysctl -w net.ipv4.conf.cni0.forwarding=1   (on the host)',
    'sysctl -w net.ipv4.conf.docker0.forwarding=1   (on the host)',
    'sysctl -w net.ipv4.conf.eth0.forwarding=1   (on the host)',
  ]);
  assert.match(
    lines[0]!,
    /flannel\.1\/forwarding is 0\), so nothing that .* weft cannot write that here; do: /,
  );
  assert.match(lines[1]!, /conf\/cni0\/forwarding is 0\), so containers reach no other host/);
  assert.match(lines[3]!, /what other hosts route here for containers is dropped/);
  assert.deepEqual(told(ways(['docker0']), proc(t, 'cni0', 'eth0')), []);
});

test('without a bridge it counts what a new one would get; our own device alone is mended alone', (t) => {
  const [line, ...more] = told(ways([]), proc(t, 'default'));
  assert.match(
    line!,
    /^a device made now .*; do: sysctl -w net\.ipv4\.conf\.default\.forwarding=1 /,
  );
  assert.deepEqual(more, []);
  assert.deepEqual(told(ways(['docker0']), proc(t, 'default')), []);
  const own = told(ways(['docker0']), proc(t, 'host', TUNNEL));
  assert.match(own.join(), /^flannel\.1 does not forward/, 'the host need not be a router for it');
  const none = { tunnel: undefined, bridges: ['docker0'], direct: [] };
  assert.deepEqual(told(none, proc(t, TUNNEL)), []);
});

test('a setting is written where it is another, and nothing else is an error', (t) => {
  const root = scratch(t);
  plant(root, { 'sys/net/a': '0\n' });
  assert.equal(keepSysctl('net/a', '1', root), true);
  assert.equal(readSysctl('net/a', root), '1');
  assert.equal(keepSysctl('net/a', '1', root), false);
  assert.equal(keepSysctl('net/b', '1', root), false);
  assert.equal(readSysctl('net/b', root), undefined);
  assert.equal(sysctlCommand('net/ipv4/ip_forward', '1'), 'sysctl -w net.ipv4.ip_forward=1');
  assert.equal(sysctlCommand('net/ipv4/conf/br-1.2/x', '1'), 'sysctl -w net/ipv4/conf/br-1.2/x=1');
});

test('bridges are those with an address of ours, whatever they are called', () => {
  const rows = [{}, { ifname: 'lo', flags: ['LOOPBACK'] }, { ifname: TUNNEL }, { ifname: 'a"b' }];
  assert.deepEqual(bridgesIn([...rows, { ifname: 'docker0', flags: ['UP'] }], TUNNEL), [
    'a"b',
    'docker0',
  ]);
  assert.deepEqual(bridgesIn(rows, undefined), ['a"b', TUNNEL]);
});
