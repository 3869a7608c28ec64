/**
 * Containers that send VXLAN themselves, in their own name and in another's: what arrives at a peer,
 * and at their own host.
 *
 *   xbox1 ─ docker0 ─ host1 (weft) ─ ens33 ══ switch ══ ens33 ─ host2 (kernel) ─ docker0 ─ xbox2
 *      far (another VTEP) ─ ens34 ─┘             ╚══ etcd
 */
import assert from 'node:assert/strict';
import process from 'node:process';
import { after, before, describe, test } from 'node:test';
import { type Running, run } from '../../src/lab/command.js';
import type { Container } from '../../src/lab/container.js';
import { enterLab, labLacks } from '../../src/lab/enter.js';
import type { Etcd } from '../../src/lab/etcd.js';
import { type Host, WEFT } from '../../src/lab/host.js';
import { Lab } from '../../src/lab/lab.js';
import type { Namespace } from '../../src/lab/namespace.js';
import { until } from '../control/fakes.js';
import { PREFIX, ping, startWeft } from './overlay.js';
import { toldSince } from './spoil.js';

const lacks = labLacks({ programs: ['etcd', 'iptables', 'nft', 'ping'], tun: true });
if (lacks === undefined && !Lab.inside()) process.exit(await enterLab());

const VTEP_PORT = 8472;
const PEER = '192.168.56.12';
/** Any other address. */
const STRANGER = '192.168.56.77';
const FAR = '192.168.58.2';
/** By this length the forged datagrams are known: UDP header and payload. */
const LENGTH = 208;
const COUNT = 10;
const FAST = ['-ip-masq', '-iptables-resync=1'];

describe("the guard against containers' own VXLAN", {
  skip: lacks ?? false,
  timeout: 600_000,
}, () => {
  let lab: Lab;
  let etcd: Etcd;
  let host1: Host;
  let host2: Host;
  let far: Host;
  let weft: Running;
  let xbox1: Container;
  let xbox2: Container;

  before(async () => {
    lab = await Lab.open();
    const network = await lab.network();
    etcd = await network.etcd();
    host1 = await network.host('host1', { address: '192.168.56.11/24' });
    host2 = await network.host('host2', { address: `${PEER}/24` });
    const peer = await host2.kernelPeer({ subnet: '10.10.201.0/24' });
    await etcd.register(PREFIX, peer);
    far = await network.host('far', { address: '192.168.56.13/24', defaultRoute: false });
    const ends = `netns ${host1.holder} type veth peer name ens34 netns ${far.holder}`;
    await run(['ip', '-batch', '-'], { input: `link add name ens34 ${ends}\n` });
    await host1.ip('address add 192.168.58.1/24 dev ens34', 'link set ens34 up');
    await far.ip(
      'link set ens33 down',
      `address add ${FAR}/24 dev ens34`,
      'link set ens34 up',
      'route add 192.168.56.0/24 via 192.168.58.1',
    );
    for (const host of [host1, host2]) {
      await host.run(['nft', '-f', '-'], {
        input:
          'table ip counted {\n chain input {\n type filter hook input priority 10;\n' +
          ` udp dport ${VTEP_PORT} udp length ${LENGTH} counter\n }\n}\n`,
      });
    }

    await configure(false);
    weft = await startWeft(host1, etcd, ...FAST, '-guard=false');
    const [own] = (await etcd.peers(PREFIX)).filter(({ publicIp }) => publicIp !== PEER);
    await peer.addPeer(own!);
    xbox1 = await host1.container('xbox1');
    xbox2 = await host2.container('xbox2');
    await xbox1.ip(`address add ${STRANGER}/32 dev lo`);
  });
  after(() => lab?.close());

  const configure = (nftables: boolean) =>
    etcd.put(
      `${PREFIX}/config`,
      JSON.stringify({
        Network: '10.10.0.0/16',
        Backend: { Type: 'vxlan' },
        EnableNFTables: nftables,
      }),
    );
  const restart = async (...flags: string[]) => {
    assert.equal(await weft.stop(), 0);
    weft = await startWeft(host1, etcd, ...FAST, ...flags);
  };

  const counted = async (host: Host): Promise<number> => {
    const { stdout } = await host.run(['nft', 'list', 'table', 'ip', 'counted']);
    return Number(/packets (\d+)/.exec(stdout)![1]);
  };
  /** How many of ten forged datagrams from `source` arrive; its own address if that is empty. */
  const forge = async (from: Namespace, source: string, to: Host): Promise<number> => {
    const before = await counted(to);
    const send =
      'const s = require("dgram").createSocket("udp4");' +
      `s.bind(0, ${JSON.stringify(source)} || undefined, async () => {` +
      `for (let i = 0; i < ${COUNT}; i++) await new Promise((r) => ` +
      `s.send(Buffer.alloc(${LENGTH - 8}, 8), ${VTEP_PORT}, "${to.address}", r)); s.close(); })`;
    await from.run([process.execPath, '-e', send]);
    await from.run(['sleep', '0.1']);
    return (await counted(to)) - before;
  };
  /** To the peer in its own name and in another's; to its own host in another's. */
  const arrived = async (): Promise<number[]> => [
    await forge(xbox1, '', host2),
    await forge(xbox1, STRANGER, host2),
    await forge(xbox1, STRANGER, host1),
  ];
  const NONE = [0, 0, 0];
  const ALL = [COUNT, COUNT, COUNT];
  const rules = async (): Promise<string> => {
    const { stdout } = await host1.run(['iptables-save']);
    const { stdout: nft } = await host1.run(['nft', 'list', 'tables']);
    return stdout + nft;
  };

  /** What is none of the guard's business. */
  const othersPass = async () => {
    assert.equal(await forge(far, FAR, host2), COUNT, "another VTEP's, routed by this host");
    await ping(xbox1, xbox2);
    await ping(xbox2, xbox1);
    // A VXLAN of the containers' own, through the tunnel.
    const listen =
      'const s = require("dgram").createSocket("udp4");' +
      `s.bind(${VTEP_PORT}, () => console.log("listening"));` +
      's.once("message", (m, from) => { console.log("from " + from.address); s.close(); })';
    const inner = xbox2.start([process.execPath, '-e', listen]);
    await inner.waitFor(/listening/, 60_000);
    const send =
      'const s = require("dgram").createSocket("udp4");' +
      `s.send("x", ${VTEP_PORT}, "${xbox2.address}", () => s.close())`;
    await xbox1.run([process.execPath, '-e', send]);
    const [, from] = await inner.waitFor(/from (\S+)/, 60_000);
    assert.equal(from, xbox1.address);
    await inner.stop();
  };

  test('-guard=false: they arrive, as with flanneld', async () => {
    assert.deepEqual(await arrived(), ALL);
    assert.doesNotMatch(await rules(), /guard/i);
  });

  for (const [flavour, nftables] of [
    ['iptables', false],
    ['nftables', true],
  ] as const) {
    describe(flavour, () => {
      const where = nftables ? /^table ip weft-guard$/m : /^:WEFT-GUARD /m;
      const takeAway = nftables
        ? ['nft', 'delete', 'table', 'ip', 'weft-guard']
        : ['iptables', '-t', 'mangle', '-F', 'FORWARD'];

      test('by default none arrives, and all else passes', async () => {
        await configure(nftables);
        await restart();
        assert.deepEqual(await arrived(), NONE);
        await othersPass();
        assert.match(await rules(), where);
        assert.doesNotMatch(await rules(), nftables ? /WEFT-GUARD/ : /weft-guard/);
      });

      test('what somebody takes away is set again within the period, and said', async () => {
        await host1.run(takeAway);
        await weft.waitFor(/W .*guard rules set again: /, 60_000);
        assert.deepEqual(await arrived(), NONE);
      });

      test('a bridge that is made later is covered within the period', async () => {
        const subnet = host1.subnetFile()!.subnet;
        // A bridge without an address answers no ARP: what is known of it by then has to last.
        const { stdout } = await host1.run(['ip', '-j', 'link', 'show', 'docker0']);
        const [{ address: bridge }] = JSON.parse(stdout);
        const gateway = subnet.split('/')[0]!;
        const known = ['lladdr', bridge, 'dev', 'eth0', 'nud', 'permanent'];
        await xbox1.run(['ip', 'neighbour', 'replace', gateway, ...known]);
        await host1.ip(`address del ${subnet} dev docker0`);
        await until(async () => (await forge(xbox1, STRANGER, host2)) === COUNT);
        const from = weft.output.length;
        await host1.ip(`address add ${subnet} dev docker0`);
        await until(async () => (await forge(xbox1, STRANGER, host2)) === 0);
        assert.doesNotMatch(toldSince(weft, from).join('\n'), /^W /m);
        await othersPass();
      });

      test('SIGTERM leaves it, weft down takes it back', async () => {
        assert.equal(await weft.stop(), 0);
        assert.deepEqual(await arrived(), NONE);
        const { stdout } = await host1.run([process.execPath, WEFT, 'down']);
        assert.match(
          stdout,
          nftables
            ? /The nft table ip weft-guard was deleted/
            : /rules in iptables' table mangle were removed/,
        );
        assert.doesNotMatch(await rules(), /guard/i);
        weft = await startWeft(host1, etcd, ...FAST);
        assert.match(await rules(), where);
      });

      test('-guard=false removes what an earlier run left', async () => {
        await restart('-guard=false');
        assert.doesNotMatch(await rules(), /guard/i);
        assert.doesNotMatch(host1.read('/run/weft/flannel.1.json')!, /guard|mangle/i);
        assert.equal(await forge(xbox1, '', host2), COUNT);
        await restart();
      });
    });
  }

  test('a change of flavour leaves nothing of the other', async () => {
    await configure(false);
    await restart();
    assert.match(await rules(), /WEFT-GUARD/);
    assert.doesNotMatch(await rules(), /weft-guard/);
  });
});
