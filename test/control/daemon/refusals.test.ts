/** What ends a start: each with a sentence for the operator, and with nothing of it left. */
import assert from 'node:assert/strict';
import fs from 'node:fs';
import { test } from 'node:test';
import type { DaemonOptions } from '../../../src/control/daemon/ground.js';
import { plant } from '../host/fakes.js';
import { EARLIER, FakeHost, HOST_GW } from './fakes/fake-host.js';

interface Refusal {
  readonly name: string;
  readonly wrong: (host: FakeHost) => void;
  readonly more?: Partial<DaemonOptions>;
  readonly why: RegExp;
  /** What the status said last. */
  readonly doing: string;
  /** What was done to the host till then, and undone. */
  readonly did?: readonly string[];
  /** Whose journal is left, which is another's. */
  readonly left?: readonly string[];
}

const HOST = 'looking at this host';
const CONFIG = 'reading the network config from memory';
const UNDERLAY = 'choosing the underlay interface';
const DEVICE = 'making the device';
const LEASE = 'acquiring a lease from memory';
const SETUP = 'setting up the device';

const UNTOUCHED = ['close the store'];
const ASKED = ['ip ended', ...UNTOUCHED];
const LISTEN = 'listen 192.168.56.11:8472';
const UNLISTEN = 'unlisten 192.168.56.11:8472';
/** One subnet in all. */
const FULL =
  '{"Network":"10.10.0.0/16","SubnetMin":"10.10.9.0","SubnetMax":"10.10.9.0","Backend":{"Type":"vxlan"}}';

const REFUSALS: readonly Refusal[] = [
  {
    name: 'no TUN to be had',
    doing: CONFIG,
    wrong: (host) => Object.assign(host, { tunFile: '/nowhere/tun' }),
    why: /^there is no \/nowhere\/tun, so the kernel cannot give weft a TUN device/,
    did: UNTOUCHED,
  },
  {
    name: 'no memory to be had for the lanes',
    doing: CONFIG,
    wrong: (host) => {
      host.io.noMemory = new RangeError('could not allocate memory');
    },
    why: /^the address space is limited, and V8 reserves 11 GiB/,
    did: UNTOUCHED,
  },
  {
    name: 'too few threads to be had',
    doing: HOST,
    wrong(host) {
      plant(host.proc, { 'self/cgroup': '0::/\n' });
      plant(host.folder, { 'groups/pids.max': '18\n', 'groups/pids.current': '7\n' });
      Object.assign(host, { cgroups: `${host.folder}/groups` });
    },
    why: /^no more than 11 threads and processes can be added here/,
    did: [],
    left: ['groups'],
  },
  {
    name: 'no ip',
    doing: HOST,
    wrong: (host) => {
      host.runner.absent = /^ip/;
    },
    why: /^cannot run ip: there is no such program/,
    did: [],
  },
  {
    name: 'no right to change anything',
    doing: HOST,
    wrong: (host) => plant(host.proc, { 'self/status': 'Uid:\t0\t0\nCapEff:\t0000000000000000\n' }),
    why: /^weft has no CAP_NET_ADMIN/,
    did: [],
  },
  {
    name: 'a config that weft does not serve',
    doing: CONFIG,
    wrong: (host) => {
      host.store.config = '{"Network":"10.10.0.0/16","Backend":{"Type":"ipsec"}}';
    },
    why: /ipsec/,
    did: UNTOUCHED,
  },
  {
    name: 'no interface to choose',
    doing: UNDERLAY,
    wrong: (host) => host.runner.routes.splice(0),
    why: /^there is no IPv4 default route/,
    did: UNTOUCHED,
  },
  {
    name: 'an underlay that is too small',
    doing: UNDERLAY,
    wrong: (host) => {
      host.runner.link('ens33')!.mtu = 100;
    },
    why: /^ens33 has an MTU of 100, and the tunnel needs 118/,
    did: ASKED,
  },
  {
    name: 'another weft with the device',
    doing: DEVICE,
    wrong: (host) => host.plantRival('flannel.1', 815),
    why: /^flannel\.1 is in use by the running weft with process id 815/,
    did: ASKED,
    left: ['flannel.1.json'],
  },
  {
    name: 'a flanneld that runs',
    doing: DEVICE,
    wrong(host) {
      host.runner.add('flannel.1', { vxlan: { id: 1, port: 8472 } });
      plant(host.proc, { '99/comm': 'flanneld\n' });
      fs.mkdirSync(`${host.proc}/99/net`);
      fs.linkSync(`${host.proc}/self/net/dev`, `${host.proc}/99/net/dev`);
    },
    why: /^flannel\.1 is in use by flanneld, process 99/,
    did: ASKED,
  },
  {
    name: 'a port that is taken',
    doing: DEVICE,
    wrong(host) {
      host.io.listening.push('192.168.56.11:8472');
      const socket = '  1: 0B38A8C0:2118 00000000:0000 07 0:0 00:0 0 0 0 4242 2 0 0';
      plant(host.proc, { 'net/udp': `head\n${socket}\n`, '99/comm': 'socat\n' });
      fs.mkdirSync(`${host.proc}/99/fd`);
      fs.symlinkSync('socket:[4242]', `${host.proc}/99/fd/5`);
    },
    why: /^UDP port 8472 on 192\.168\.56\.11 is in use by process 99 \(socat\)/,
    did: ASKED,
  },
  {
    name: 'a VRF that cannot be used',
    doing: DEVICE,
    wrong(host) {
      host.runner.add('vrf1');
      host.runner.link('ens33')!.master = 'vrf1';
      host.io.refuse = { syscall: 'SO_BINDTODEVICE', code: 'EPERM' };
    },
    why: /^the underlay address 192\.168\.56\.11 is in the VRF vrf1, which weft cannot use/,
    did: ASKED,
  },
  {
    name: 'a device of that name',
    doing: DEVICE,
    wrong: (host) => host.runner.add('flannel.1'),
    why: /^there is a device flannel\.1 already/,
    did: [LISTEN, UNLISTEN, ...ASKED],
  },
  {
    name: 'no subnet left',
    doing: LEASE,
    wrong(host) {
      host.store.config = FULL;
      host.peer('10.10.9.0-24', '192.168.56.12');
    },
    why: /subnet/,
    did: [LISTEN, 'open flannel.1', UNLISTEN, 'close flannel.1', ...ASKED],
  },
  {
    name: 'a device that cannot be set up',
    doing: SETUP,
    wrong(host) {
      host.runner.refuse = { line: /^addr add/, why: 'RTNETLINK answers: Operation not permitted' };
    },
    why: /^cannot set up flannel\.1: ip addr add 10\.10\.64\.0\/32 dev flannel\.1: RTNETLINK/,
    did: [
      LISTEN,
      'open flannel.1',
      'ip link set dev flannel.1 mtu 1450',
      'ip link set dev flannel.1 txqueuelen 5000',
      'ip link set dev flannel.1 up',
      'ip ended',
      UNLISTEN,
      'close flannel.1',
      ...UNTOUCHED,
    ],
  },
  {
    name: 'host-gw in a VRF',
    doing: UNDERLAY,
    wrong(host) {
      host.store.config = HOST_GW;
      host.runner.add('vrf1');
      host.runner.link('ens33')!.master = 'vrf1';
    },
    why: /^ens33 is in the VRF vrf1, and host-gw's routes lead to containers outside it/,
    did: ASKED,
  },
  {
    name: 'host-gw behind a NAT',
    doing: UNDERLAY,
    wrong: (host) => {
      host.store.config = HOST_GW;
    },
    more: { underlay: { iface: ['ens33'], publicIp: '203.0.113.7' } },
    why: /^the public IP 203\.0\.113\.7 is not the address of ens33, 192\.168\.56\.11: with host-gw/,
    did: ASKED,
  },
  {
    name: 'another weft with host-gw',
    doing: UNDERLAY,
    wrong(host) {
      host.store.config = HOST_GW;
      host.plantRival('host-gw', 815);
    },
    why: /^host-gw is in use by the running weft with process id 815/,
    did: ASKED,
    left: ['host-gw.json'],
  },
];

for (const { name, wrong, more, why, doing, did = [], left = [] } of REFUSALS) {
  test(`${name}: refused, and all is undone in its order`, async (t) => {
    const host = new FakeHost(t);
    wrong(host);
    const links = host.runner.links.map(({ ifname }) => ifname);
    const daemon = host.daemon(more);
    assert.match(await host.refused(daemon), why);
    assert.equal(daemon.look().status, doing);
    assert.deepEqual(host.take(), did);
    assert.deepEqual(host.exits, [1]);
    const now = host.runner.links.map(({ ifname }) => ifname);
    assert.deepEqual(now, links, 'the devices are those of before');
    const kept = fs.existsSync(host.folder) ? fs.readdirSync(host.folder) : [];
    assert.deepEqual(kept, left, 'neither a journal nor a socket is left');
    assert.equal(host.subnetEnv, EARLIER);
    assert.deepEqual(host.clock.waits, [], 'nor a timer');
  });
}

test('several things that are missing are all named, the last of them as the reason', async (t) => {
  const host = new FakeHost(t);
  Object.assign(host, { tunFile: '/nowhere/tun' });
  host.runner.absent = /^ip/;
  plant(host.proc, { 'self/status': 'Uid:\t0\t0\nCapEff:\t0000000000000000\n' });
  assert.match(await host.refused(host.daemon()), /^cannot run ip/);
  const lines = host.log.matching(/^error: (there is no \/nowhere|weft has no CAP)/);
  assert.equal(lines.length, 2);
});

test('host-gw goes without what only lanes need', async (t) => {
  const host = new FakeHost(t);
  host.store.config = HOST_GW;
  host.io.noMemory = new ReferenceError('WebAssembly is not defined');
  assert.equal((await host.started()).ready, true);
  assert.equal(host.log.matching(/^warn: no lane can run here: only host-gw goes/).length, 1);
});

test('the device that a flanneld left stays when weft cannot take its place', async (t) => {
  const host = new FakeHost(t);
  host.runner.add('flannel.1', { vxlan: { id: 1, port: 8472 }, address: '2a:2e:cc:73:34:04' });
  host.store.config = FULL;
  host.peer('10.10.9.0-24', '192.168.56.12');
  assert.match(await host.refused(host.daemon()), /subnet/);
  assert.ok(host.runner.link('flannel.1'));
  assert.ok(!host.take().includes('ip link del dev flannel.1'));
});

test('a status socket that cannot be had is no reason not to start', async (t) => {
  const host = new FakeHost(t);
  fs.mkdirSync(`${host.folder}/flannel.1.sock/x`, { recursive: true });
  const daemon = await host.started();
  assert.equal(daemon.ready, true);
  assert.equal(host.log.matching(/^warn: no status socket/).length, 1);
});

test('a subnet.env that cannot be written: it goes on, not ready until it is there', async (t) => {
  const host = new FakeHost(t);
  fs.rmSync(host.subnetFile);
  fs.mkdirSync(`${host.subnetFile}/x`, { recursive: true });
  const daemon = await host.started();
  assert.equal(daemon.ready, false);
  assert.equal(daemon.look().ready, true, 'packets flow');
  fs.rmSync(host.subnetFile, { recursive: true });
  await host.clock.pass(3_000);
  assert.equal(daemon.ready, true);
});
