/**
 * `weft probe` against kernel peers, with each fault made beside a peer that is well.
 *
 *   alpha (.11, weft) ══ switch ══ broken (.12, kernel), well (.13, kernel)
 */
import assert from 'node:assert/strict';
import path from 'node:path';
import process from 'node:process';
import { after, before, describe, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { enterLab } from '../../src/lab/enter.js';
import type { Etcd } from '../../src/lab/etcd.js';
import { type Host, WEFT } from '../../src/lab/host.js';
import { Lab } from '../../src/lab/lab.js';
import { CONFIG, PREFIX, startWeft } from './overlay.js';
import { pathsLack } from './paths.js';

const lacks = await pathsLack();
if (lacks === undefined && !Lab.inside()) process.exit(await enterLab());

const BROKEN = '192.168.56.12';
const WELL = '192.168.56.13';
const OVERLAY = '10.10.200.0';

interface Said {
  publicIp: string;
  code: string;
  words: string;
  todo: string;
  well: boolean;
  pathMtu: number | null;
}

describe('weft probe', { skip: lacks ?? false, timeout: 600_000 }, () => {
  let lab: Lab;
  let etcd: Etcd;
  let alpha: Host;
  let broken: Host;
  let well: Host;

  before(async () => {
    lab = await Lab.open();
    const network = await lab.network();
    etcd = await network.etcd();
    await etcd.put(`${PREFIX}/config`, CONFIG);
    const kernels = [];
    const hosts: Host[] = [];
    for (const [i, address] of [BROKEN, WELL].entries()) {
      const host = await network.host(`kernel${i + 1}`, { address: `${address}/24` });
      const peer = await host.kernelPeer({ subnet: `10.10.${200 + i}.0/24` });
      await etcd.register(PREFIX, peer);
      kernels.push(peer);
      hosts.push(host);
    }
    [broken, well] = [hosts[0]!, hosts[1]!];
    alpha = await network.host('alpha', { address: '192.168.56.11/24' });
    await startWeft(alpha, etcd);
    for (const other of await etcd.peers(PREFIX)) {
      for (const peer of kernels) {
        if (other.publicIp !== peer.publicIp) await peer.addPeer(other);
      }
    }
  });
  after(() => lab?.close());

  const weft = (...args: string[]) =>
    alpha.run([process.execPath, WEFT, 'probe', ...args], { mayFail: true, timeout: 60_000 });
  /** What it says of the broken peer; of the other it says that it is well. */
  const said = async (...args: string[]): Promise<Said> => {
    const { code, stdout, stderr } = await weft('-json', ...args);
    assert.equal(stderr, '');
    const all = JSON.parse(stdout) as Said[];
    const one = all.find(({ publicIp }) => publicIp === BROKEN)!;
    for (const other of all) if (other !== one) assert.equal(other.code, 'well', other.words);
    assert.equal(code, one.well ? 0 : 1, JSON.stringify(one));
    return one;
  };
  const shut = async (host: Host, hook: string, ...rules: string[]) => {
    const chain = `add chain inet shut c { type filter hook ${hook} priority -10; }`;
    const lines = ['add table inet shut', chain, ...rules.map((r) => `add rule inet shut c ${r}`)];
    await host.run(['nft', '-f', '-'], { input: `${lines.join('\n')}\n` });
    return () => host.run(['nft', 'delete', 'table', 'inet', 'shut']);
  };

  test('all peers are well: a line each, no more, and exit code 0', async () => {
    const { code, stdout, stderr } = await weft();
    assert.deepEqual([code, stderr], [0, '']);
    const lines = stdout.trimEnd().split('\n');
    assert.equal(lines.length, 3, stdout);
    for (const [i, peer] of [BROKEN, WELL].entries()) {
      const row = new RegExp(
        `^10\\.10\\.${200 + i}\\.0/24 +${peer} +5/5 [\\d.]+ ms +5/5 [\\d.]+ ms +3/3 [\\d.]+ ms +1500 +well$`,
      );
      assert.ok(
        lines.some((line) => row.test(line)),
        stdout,
      );
    }
  });

  test('a peer is named by its public IP, its subnet, or an address inside; others are refused', async () => {
    for (const name of [BROKEN, '10.10.200.0/24', '10.10.200.77']) {
      const { stdout } = await weft('-json', '-count', '1', name);
      assert.deepEqual(
        (JSON.parse(stdout) as Said[]).map(({ publicIp }) => publicIp),
        [BROKEN],
      );
    }
    for (const [name, words] of [
      ['10.10.99.1', /10\.10\.99\.1 is no peer, nor inside the subnet of one/],
      ['192.168.56.11', /192\.168\.56\.11 is this host itself/],
      ['beta', /"beta" is no IPv4 address or subnet/],
    ] as const) {
      const { code, stderr } = await weft(name);
      assert.equal(code, 2);
      assert.match(stderr, words);
    }
  });

  const faults: readonly (readonly [
    string,
    string,
    () => Promise<() => Promise<unknown>>,
    RegExp,
  ])[] = [
    [
      'UDP 8472 is dropped there',
      'filtered',
      () => shut(broken, 'input', 'udp dport 8472 drop'),
      /^UDP 8472 is filtered between here and 192\.168\.56\.12: underlay pings pass, tunnel echoes do not$/,
    ],
    [
      'its VTEP does not run',
      'refused',
      async () => {
        await broken.ip('link set flannel.1 down');
        return async () => {
          await broken.ip(
            'link set flannel.1 up',
            'route add 10.10.201.0/24 via 10.10.201.0 dev flannel.1 onlink',
          );
          for (const other of await etcd.peers(PREFIX)) {
            const base = other.subnet.split('/')[0]!;
            if (other.publicIp === BROKEN) continue;
            await broken.ip(
              `neighbour replace ${base} lladdr ${other.mac} dev flannel.1 nud permanent`,
              `route replace ${other.subnet} via ${base} dev flannel.1 onlink`,
            );
          }
        };
      },
      /^nothing listens on UDP 8472 at 192\.168\.56\.12: /,
    ],
    [
      'its host is gone',
      'host-gone',
      async () => {
        await broken.ip('link set ens33 down');
        await alpha.ip('neigh flush dev ens33');
        return () => broken.ip('link set ens33 up');
      },
      /^no host has the address 192\.168\.56\.12: nobody answers ARP for it$/,
    ],
    [
      'large packets are dropped there',
      'small-mtu',
      () => shut(broken, 'prerouting', 'udp dport 8472 meta length > 1000 drop'),
      /^small packets pass the tunnel to 192\.168\.56\.12, those of 1450 bytes do not/,
    ],
    [
      'every second packet is lost there',
      'lossy',
      () => shut(broken, 'input', 'udp dport 8472 numgen inc mod 2 0 drop'),
      /^\d+ % of the echoes through the tunnel to 192\.168\.56\.12 or of their answers are lost$/,
    ],
    [
      'it answers no pings on the underlay',
      'well',
      () => shut(broken, 'input', 'iifname ens33 icmp type echo-request drop'),
      /through the tunnel, .*pings on the underlay it does not answer, which is no fault$/,
    ],
    [
      'it drops pings in the tunnel and sends others',
      'answers-no-echo',
      async () => {
        const open = await shut(broken, 'input', 'iifname flannel.1 icmp type echo-request drop');
        const pinging = broken.start([
          ...['ping', '-q', '-i', '0.2', '-I', OVERLAY],
          await ownOverlay(),
        ]);
        return async () => {
          await pinging.stop();
          await open();
        };
      },
      /^packets come from 192\.168\.56\.12 through the tunnel; echoes to it are not answered/,
    ],
    [
      'no route leads there',
      'no-route',
      async () => {
        await alpha.ip(`route add unreachable ${BROKEN}/32`);
        return () => alpha.ip(`route del unreachable ${BROKEN}/32`);
      },
      /^no packet of ours gets on its way to 192\.168\.56\.12: an unreachable route forbids it$/,
    ],
    [
      'its route leads into another device',
      'other-device',
      async () => {
        await alpha.ip('link add other7 type veth peer name end7', 'link set other7 up');
        await alpha.ip('link set end7 up');
        await alpha.ip(`route add ${BROKEN}/32 dev other7`);
        return () => alpha.ip('link del other7');
      },
      /^packets for 192\.168\.56\.12 leave by other7, not by the underlay interface/,
    ],
    [
      'our own firewall forbids it',
      'denied',
      () => shut(alpha, 'output', `ip daddr ${BROKEN} udp dport 8472 drop`),
      /^this host's own firewall forbids sending UDP 8472 to 192\.168\.56\.12$/,
    ],
    [
      'it rejects UDP 8472 as prohibited',
      'rejected',
      () => shut(broken, 'input', 'udp dport 8472 reject with icmp type admin-prohibited'),
      /^a firewall rejects UDP 8472 between here and 192\.168\.56\.12: /,
    ],
  ];

  const ownOverlay = async (): Promise<string> => {
    const { stdout } = await alpha.run(['ip', '-j', 'addr', 'show', 'dev', 'flannel.1']);
    return JSON.parse(stdout)[0].addr_info[0].local;
  };

  for (const [name, code, make, words] of faults) {
    test(`${name}: ${code}, the other peer well`, async (t) => {
      const mend = await make();
      t.after(mend);
      const one = await said();
      t.diagnostic(one.words);
      assert.equal(one.code, code, one.words);
      assert.match(one.words, words);
      if (code === 'lossy' || !one.well) assert.notEqual(one.todo, '');
    });
  }

  test('a peer with a fault: its line, and below the table why and what to type', async (t) => {
    t.after(await shut(broken, 'input', 'udp dport 8472 drop'));
    const { code, stdout } = await weft();
    assert.equal(code, 1);
    assert.match(stdout, /192\.168\.56\.12 +5\/5 .* 0\/5 .*filtered\n/);
    assert.match(
      stdout,
      /\n\nUDP 8472 is filtered between here and 192\.168\.56\.12: .*\.\n {2}on 192\.168\.56\.12, .*tcpdump -ni any udp port 8472\n$/,
    );
  });

  test('without raw sockets it goes by the program ping', async () => {
    const hidden = path.dirname(fileURLToPath(import.meta.resolve('raw-socket')));
    const script = `mount -t tmpfs none ${hidden} && exec "$@"`;
    const { code, stdout, stderr } = await alpha.run(
      [
        ...['unshare', '--mount', 'sh', '-c', script, 'sh'],
        ...[process.execPath, WEFT, 'probe', '-count', '2'],
      ],
      { mayFail: true, timeout: 60_000 },
    );
    assert.deepEqual([code, stderr], [0, ''], stdout + stderr);
    assert.match(stdout, /192\.168\.56\.12 +2\/2 .* ms +2\/2 .* 1500 +well\n/);
  });

  test('weft doctor asks a few peers as well, or those that are named', async () => {
    interface Looked {
      readonly looks: { at: string; saw: string; findings: { code: string; about: string }[] }[];
    }
    const doctor = async (...args: string[]) => {
      const argv = [process.execPath, WEFT, 'doctor', '-json', ...args];
      const { stdout } = await alpha.run(argv, { mayFail: true, timeout: 60_000 });
      return (JSON.parse(stdout) as Looked).looks.find(({ at }) => at === 'probe');
    };
    const well = await doctor(WELL);
    assert.match(well?.saw ?? '', /^1 of \d+ peers asked: all well, path MTU 1500$/);
    assert.deepEqual(well?.findings, []);
    const none = await doctor('10.10.99.1').catch((error: Error) => error.message);
    assert.match(String(none), /JSON/, 'it is a wrong command line');
  });

  test('many addresses take no more descriptors than one, and each has its line', async (t) => {
    const wide = '10.77.0.0/16';
    await alpha.run(['ip', 'route', 'add', wide, 'via', WELL]);
    t.after(() => alpha.run(['ip', 'route', 'del', wide]));
    await well.run(['ip', 'route', 'add', 'local', wide, 'dev', 'lo']);
    t.after(() => well.run(['ip', 'route', 'del', 'local', wide, 'dev', 'lo']));
    const many = Array.from({ length: 300 }, (_, i) => `10.77.${1 + (i >> 8)}.${i & 255}`);
    const script = `ulimit -n 64; exec ${process.execPath} ${WEFT} probe -json -count 1 "$@"`;
    const { stdout, stderr } = await alpha.run(
      ['sh', '-c', script, 'sh', '-run-dir', '/run/none', ...many, WELL, many[0]!],
      { mayFail: true, timeout: 120_000 },
    );
    assert.match(stdout, /^\[/, stderr);
    const all = JSON.parse(stdout) as Said[];
    assert.deepEqual(
      all.map(({ publicIp }) => publicIp),
      [...many, WELL, many[0]],
    );
    assert.deepEqual([...new Set(all.map((one) => one.code))], ['underlay-only']);
  });

  test('without a weft it says so, and asks the underlay', async () => {
    const none = ['-run-dir', '/run/none'];
    const { code, stdout, stderr } = await weft(...none, WELL, '192.168.56.99');
    assert.equal(code, 1);
    assert.match(
      stderr,
      /no weft runs on this host; .*: the underlay alone is probed, not the tunnel/,
    );
    assert.match(stdout, /192\.168\.56\.13 +5\/5 .* underlay-only\n/);
    assert.match(stdout, /no host has the address 192\.168\.56\.99: nobody answers ARP for it\./);
    const bare = await weft(...none);
    assert.equal(bare.code, 1);
    assert.match(bare.stderr, /no weft runs on this host; .*; or give the addresses of hosts/);
  });
});
