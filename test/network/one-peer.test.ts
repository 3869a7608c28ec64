/**
 * One peer's trouble stays its own: between alpha and beta nothing is lost, whatever is wrong on
 * the way from alpha to gamma, and whatever a stranger says of either.
 *
 *   xbox1 ─ alpha (.11, weft) ══ switch ══ beta (.12, weft) ─ xbox2
 *                                   ╠═════ gamma (.13, weft) ─ xbox3
 *                                   ╚═════ stranger (.66)
 */
import assert from 'node:assert/strict';
import process from 'node:process';
import { after, before, describe, test } from 'node:test';
import type { Running } from '../../src/lab/command.js';
import type { Container } from '../../src/lab/container.js';
import { enterLab, labLacks } from '../../src/lab/enter.js';
import type { Etcd } from '../../src/lab/etcd.js';
import { type Host, WEFT } from '../../src/lab/host.js';
import { Lab } from '../../src/lab/lab.js';
import type { Status } from '../../src/operate/status/status.js';
import { CONFIG, PREFIX, startWeft, TRAFFIC, tcpTransfer } from './overlay.js';
import { statusOf } from './spoil.js';
import { icmpError, type Quoted, Stranger } from './stranger.js';

const lacks = labLacks({ programs: ['etcd', 'ping', 'tc', 'ss', 'prlimit'], tun: true });
if (lacks === undefined && !Lab.inside()) process.exit(await enterLab());

const GAMMA = '192.168.56.13';

describe("one peer's trouble", { skip: lacks ?? false, timeout: 600_000 }, () => {
  let lab: Lab;
  let etcd: Etcd;
  let hosts: Host[];
  let wefts: Running[];
  let boxes: Container[];
  let stranger: Stranger;

  before(async () => {
    lab = await Lab.open();
    const network = await lab.network();
    etcd = await network.etcd();
    await etcd.put(`${PREFIX}/config`, CONFIG);
    hosts = [];
    wefts = [];
    boxes = [];
    for (const [i, name] of ['alpha', 'beta', 'gamma'].entries()) {
      const host = await network.host(name, { address: `192.168.56.${11 + i}/24` });
      hosts.push(host);
      wefts.push(await startWeft(host, etcd));
      boxes.push(await host.container(`xbox${i + 1}`));
    }
    stranger = await Stranger.create(network);
    for (const box of boxes.slice(1)) await boxes[0]!.run(['ping', '-c', '1', box.address]);
  });
  after(() => lab?.close());

  const status = async (): Promise<Status> => statusOf(hosts[0]!);
  const alpha = (...words: string[]) => hosts[0]!.run(words);
  const tc = (text: string) => alpha('tc', ...text.split(' '));

  /** Pings from xbox1, each 15 ms; how many of them were answered, and what ping said last. */
  const ping = async (to: Container, count = 300): Promise<[number, string]> => {
    const few = ['-c', String(count), '-i', '0.015', '-W', '2', '-q'];
    const { stdout } = await boxes[0]!.run(['ping', ...few, to.address], { mayFail: true });
    return [Number(/(\d+) received/.exec(stdout)?.[1]), stdout.trim().split('\n').at(-1)!];
  };
  /** A flood of UDP from xbox1 for so many seconds: 250 Mb/s, more than the slow ways take. */
  const flood = (to: Container, seconds: number) => {
    const pace = ['udp-pace', to.address, '9', '25000', String(seconds)];
    return boxes[0]!.run([process.execPath, TRAFFIC, ...pace], { timeout: 30_000 });
  };

  for (const rate of ['1mbit', '100mbit']) {
    test(`the way to gamma takes ${rate}: beta answers all pings beside a flood`, async (t) => {
      t.after(() => tc('qdisc del dev ens33 root'));
      await tc('qdisc add dev ens33 root handle 1: htb default 10');
      await tc('class add dev ens33 parent 1: classid 1:10 htb rate 10gbit quantum 60000');
      await tc(`class add dev ens33 parent 1: classid 1:20 htb rate ${rate} quantum 60000`);
      await tc(`filter add dev ens33 parent 1: protocol ip u32 match ip dst ${GAMMA} flowid 1:20`);
      const flooding = flood(boxes[2]!, 5);
      const [answered, said] = await ping(boxes[1]!);
      t.diagnostic(said);
      await flooding;
      assert.equal(answered, 300);
      const { drops, peers } = await status();
      t.diagnostic(JSON.stringify(drops));
      assert.ok(drops.send_peer_full! > 0, 'what gamma could not take is counted');
      for (const { publicIp, seen } of peers) {
        assert.equal(seen.droppedFull > 0, publicIp === GAMMA, JSON.stringify(seen));
      }
    });
  }

  for (const kind of ['unreachable', 'blackhole', 'prohibit'] as const) {
    test(`the route to gamma is ${kind}: beta answers all pings beside a flood`, async () => {
      await hosts[0]!.ip(`route add ${kind} ${GAMMA}/32`);
      const flooding = flood(boxes[2]!, 2);
      assert.equal((await ping(boxes[1]!, 100))[0], 100);
      await flooding;
      await hosts[0]!.ip(`route del ${kind} ${GAMMA}/32`);
      assert.equal((await ping(boxes[2]!, 20))[0], 20);
    });
  }

  test('nobody listens at gamma: beta answers all pings beside a flood, and gamma is refused', async () => {
    await wefts[2]!.stop();
    const flooding = flood(boxes[2]!, 2);
    assert.equal((await ping(boxes[1]!, 100))[0], 100);
    await flooding;
    const { peers } = await status();
    for (const { publicIp, seen } of peers) {
      assert.equal(seen.portUnreachable > 0, publicIp === GAMMA, JSON.stringify(seen));
    }
    wefts[2] = await startWeft(hosts[2]!, etcd);
    assert.equal((await ping(boxes[2]!, 20))[0], 20);
  });

  /** The sockets that are connected to beta: what an ICMP error has to quote. */
  const quotes = async (): Promise<Quoted[]> => {
    const { stdout } = await alpha('ss', '-Huan', 'dst', '192.168.56.12');
    const ports = [...stdout.matchAll(/192\.168\.56\.11:(\d+)/g)].map((match) => Number(match[1]));
    assert.ok(ports.length > 0, stdout);
    return ports.map((fromPort) => ({
      ...{ from: '192.168.56.11', fromPort, to: '192.168.56.12', toPort: 8472 },
    }));
  };
  const forged = async (): Promise<Uint8Array[]> => {
    const kinds: [number, number, number][] = [];
    for (let code = 0; code < 16; code += 1) kinds.push([3, code, 0]);
    for (const mtu of [0, 68, 576, 1400, 1499, 65535]) kinds.push([3, 4, mtu]);
    for (const [type, codes] of [
      [4, 1],
      [5, 4],
      [11, 2],
      [12, 3],
    ] as const) {
      for (let code = 0; code < codes; code += 1) kinds.push([type, code, 0]);
    }
    return (await quotes()).flatMap((quoted) =>
      kinds.map(([type, code, rest]) => icmpError('192.168.56.1', type, code, rest, quoted)),
    );
  };

  for (const rate of [20, 2000]) {
    test(`forged ICMP of every kind, ${rate} a second: no ping, no datagram, no byte is lost`, async (t) => {
      const before = await status();
      const packets = await forged();
      const sending = stranger.send(packets, rate, 8);
      const [answered, said] = await ping(boxes[1]!);
      assert.equal(answered, 300, `${said} ${JSON.stringify((await status()).drops)}`);
      const count = boxes[1]!.start([process.execPath, TRAFFIC, 'udp-count-all', '40009']);
      await count.waitFor(/listening/, 60_000);
      const paced = ['udp-pace', boxes[1]!.address, '40009', '20000', '2'];
      const { stdout } = await boxes[0]!.run([process.execPath, TRAFFIC, ...paced]);
      await count.stop();
      const arrived = [...count.output.matchAll(/^(\d+)$/gm)].at(-1)?.[1];
      t.diagnostic(`200 Mb/s of UDP: ${arrived} of ${stdout.trim()} arrived in the container`);
      await tcpTransfer(boxes[0]!, boxes[1]!, 50_000_000);
      await sending;
      const { drops, counters } = await status();
      assert.deepEqual(drops, before.drops);
      t.diagnostic(JSON.stringify(counters));
      assert.ok(counters.peer_refused > before.counters.peer_refused, 'they did reach weft');
    });
  }

  test('few descriptors: a hundred peers share, all are reached, status answers', async () => {
    await wefts[0]!.stop();
    const flags = [`-etcd-endpoints=${etcd.endpoint}`, `-etcd-prefix=${PREFIX}`, '-iface=ens33'];
    for (let i = 0; i < 100; i += 1) {
      const mac = `02:00:00:00:01:${i.toString(16).padStart(2, '0')}`;
      await etcd.put(
        `${PREFIX}/subnets/10.10.${121 + i}.0-24`,
        JSON.stringify({
          ...{ PublicIP: `192.168.56.${101 + i}`, PublicIPv6: null },
          ...{ BackendType: 'vxlan', BackendData: { VNI: 1, VtepMAC: mac } },
        }),
      );
    }
    const argv = ['prlimit', '--nofile=96:96', process.execPath, WEFT, 'up', ...flags];
    const weft = hosts[0]!.start(argv);
    await weft.waitFor(/ready: flannel/, 60_000);
    const sweep = ['udp-sweep', ...Array.from({ length: 100 }, (_, i) => `10.10.${121 + i}.2`)];
    await boxes[0]!.run([process.execPath, TRAFFIC, ...sweep], { timeout: 30_000 });
    const there = await ping(boxes[1]!, 50);
    assert.equal(there[0], 50, `${there[1]}; ${JSON.stringify(await status())}; ${weft.output}`);
    // A hundred neighbours that nobody is are asked for meanwhile.
    const other = await ping(boxes[2]!, 50);
    assert.equal(other[0], 50, `${other[1]}; ${JSON.stringify(await status())}; ${weft.output}`);
    const { peers, counters } = await status();
    assert.equal(peers.length, 102);
    assert.ok(counters.outbound_out_packets >= 200);
    assert.doesNotMatch(weft.output, /EMFILE|too many open/i);
    await weft.stop();
  });
});
