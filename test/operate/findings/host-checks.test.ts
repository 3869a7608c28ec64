/** Devices, tables and the port, from texts as the kernel and ip have them. */
import assert from 'node:assert/strict';
import fs from 'node:fs';
import { test } from 'node:test';
import { Links } from '../../../src/operate/findings/links.js';
import { Port } from '../../../src/operate/findings/port.js';
import { Tables } from '../../../src/operate/findings/tables.js';
import { scratch } from '../../control/host/fakes.js';
import { BRIDGE, FakeSubject, TUNNEL, UPLINK } from './subjects.js';

type Test = { after(call: () => void): void };
const NO_DOCKER = 'Device "docker0" does not exist.';
const links = async (t: Test, ip: Record<string, readonly object[] | string>, cni?: string) => {
  const well = {
    'addr show dev ens33': [UPLINK],
    'addr show to 10.10.58.0/24': [BRIDGE, TUNNEL],
    'addr show dev docker0': [BRIDGE],
  };
  const { subject } = new FakeSubject(t, { ip: { ...well, ...ip } });
  return new Links(cni ?? '/nowhere').look(subject);
};

test('devices as they should be', async (t) => {
  assert.deepEqual(await links(t, {}), []);
  const none = { 'addr show to 10.10.58.0/24': [TUNNEL], 'addr show dev docker0': NO_DOCKER };
  assert.deepEqual(await links(t, none), [], 'there is no container yet');
  // No container is behind it, which is no fault; a TUN tells no state.
  const idle = { ...BRIDGE, flags: ['NO-CARRIER', 'UP'], operstate: 'DOWN' };
  const tun = { ...UPLINK, operstate: 'UNKNOWN' };
  const ip = { 'addr show to 10.10.58.0/24': [idle], 'addr show dev ens33': [tun] };
  assert.deepEqual(await links(t, ip), []);
});

test('the underlay interface: down, without carrier; its absence is told by the loop', async (t) => {
  const at = async (more: object) =>
    (await links(t, { 'addr show dev ens33': [{ ...UPLINK, ...more }] })).map(({ text, cure }) => [
      text,
      cure,
    ]);
  const lost = 'nothing passes between this host and others';
  assert.deepEqual(await at({ flags: ['BROADCAST'], operstate: 'DOWN' }), [
    [`the underlay interface ens33 is down: ${lost}`, 'ip link set ens33 up'],
  ]);
  const [[text] = []] = await at({ flags: ['NO-CARRIER', 'UP'], operstate: 'LOWERLAYERDOWN' });
  assert.equal(text, `the underlay interface ens33 has no carrier: ${lost}`);
  assert.deepEqual(await links(t, { 'addr show dev ens33': 'Device does not exist.' }), []);
});

test('docker0 outside of our subnet counts where nothing has it and CNI has no part in it', async (t) => {
  const docker = { ...BRIDGE, addr_info: [{ local: '172.17.0.1', prefixlen: 16 }] };
  const ip = { 'addr show to 10.10.58.0/24': [TUNNEL], 'addr show dev docker0': [docker] };
  const [found] = await links(t, ip);
  assert.equal(found!.code, 'docker-bridge');
  assert.match(found!.cure, /--bip=10\.10\.58\.1\/24 --mtu=1450 .*systemctl restart docker$/);
  const cni = scratch(t);
  fs.writeFileSync(`${cni}/10-flannel.conflist`, '{}');
  assert.deepEqual(await links(t, ip, cni), []);
  const bare = { ...ip, 'addr show dev docker0': [{ ...docker, addr_info: [] }] };
  assert.deepEqual(await links(t, bare), [], 'one without an address leads nowhere anyway');
});

test('a bridge that is down, and one of another name with too large an MTU', async (t) => {
  const down = { ...BRIDGE, flags: ['BROADCAST'] };
  const [first] = await links(t, { 'addr show to 10.10.58.0/24': [down] });
  assert.deepEqual([first!.code, first!.cure], ['bridge-down', 'ip link set docker0 up']);
  const large = { ...BRIDGE, ifname: 'cni0', mtu: 1451 };
  const [second] = await links(t, { 'addr show to 10.10.58.0/24': [large] });
  assert.equal(second!.cure, 'ip link set cni0 mtu 1450, and start the containers anew');
  const odd = { ...down, ifname: 'br$(reboot)' };
  const [third] = await links(t, { 'addr show to 10.10.58.0/24': [odd] });
  assert.equal(third!.cure, "ip link set 'br$(reboot)' up", 'a name is one word for a shell');
});

test('the table of connections: by how full it is', async (t) => {
  const at = async (now: string, most: string) => {
    const folder = 'sys/net/netfilter';
    const proc = { [`${folder}/nf_conntrack_count`]: now, [`${folder}/nf_conntrack_max`]: most };
    const found = await new Tables().look(new FakeSubject(t, { proc }).subject);
    return found.map(({ severity }) => severity);
  };
  assert.deepEqual(await at('94\n', '100\n'), []);
  assert.deepEqual(await at('95\n', '100\n'), ['warning']);
  assert.deepEqual(await at('100\n', '100\n'), ['error']);
  assert.deepEqual(await at('9\n', '0\n'), [], 'no limit');
  assert.deepEqual(await new Tables().look(new FakeSubject(t, {}).subject), [], 'no such module');
});

test('the table of neighbours: while it overflows', async (t) => {
  const stat = (...fulls: string[]) => ({
    'net/stat/arp_cache':
      'entries  allocs   unresolved_discards table_fulls\n' +
      fulls.map((full) => `00000400 00000001 00000000 ${full}\n`).join(''),
  });
  const proc = { 'sys/net/ipv4/neigh/default/gc_thresh3': '1024\n', ...stat('0000000f', '1') };
  const host = new FakeSubject(t, { proc });
  const check = new Tables();
  assert.deepEqual(await check.look(host.subject), [], 'when is not known yet');
  host.write(stat('00000010', '1'));
  const [found] = await check.look(host.subject);
  assert.equal(found!.code, 'neighbour-table-full');
  assert.equal(
    found!.cure,
    'sysctl -w net.ipv4.neigh.default.gc_thresh1=1024 net.ipv4.neigh.default.gc_thresh2=2048 ' +
      'net.ipv4.neigh.default.gc_thresh3=4096',
  );
  assert.deepEqual(await check.look(host.subject), []);
});

test('another process on the port, by its files; weft itself, other addresses and all of them are none', async (t) => {
  // 192.168.56.11:8472, 0.0.0.0:8472, 127.0.0.1:8472
  const line = (at: string, inode: number) => `  1: ${at}:2118 0:0 07 0:0 0:0 0 0 0 ${inode} 2\n`;
  const udp = (...more: string[]) => ({
    'net/udp': [
      '  sl  local_address\n',
      line('0B38A8C0', 100),
      line('0100007F', 300),
      line('00000000', 400),
      ...more,
    ].join(''),
  });
  const host = new FakeSubject(t, { proc: udp() });
  const has = (pid: number, name: string, inode: number) => {
    host.write({ [`${pid}/comm`]: `${name}\n`, [`${pid}/fd/none`]: '' });
    fs.symlinkSync(`socket:[${inode}]`, `${host.proc}/${pid}/fd/7`);
  };
  has(4711, 'node', 100);
  has(815, 'thief', 200);
  has(816, 'local', 300);
  has(818, 'everywhere', 400);
  const check = new Port();
  assert.deepEqual(await check.look(host.subject), []);
  host.write(udp(line('0B38A8C0', 200)));
  const [found] = await check.look(host.subject);
  assert.match(
    found!.text,
    /^process 815 \(thief\) listens on UDP port 8472 of 192\.168\.56\.11, too/,
  );
  assert.equal(found!.cure, 'kill 815');
  // It handed the socket to another, and its number may be a third one's by now.
  fs.rmSync(`${host.proc}/815/fd/7`);
  has(817, 'heir', 200);
  assert.equal((await check.look(host.subject))[0]!.cure, 'kill 817');
  host.write(udp());
  assert.deepEqual(await check.look(host.subject), []);
});
