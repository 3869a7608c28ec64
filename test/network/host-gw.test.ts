/**
 * The host-gw backend: two wefts and a host that has just the routes, no tunnel anywhere.
 *
 *   xbox1 ─ docker0 ─ weft1 (.11) ══ weft2 (.12) ─ docker0 ─ xbox2
 *                            ╚═════ plain (.13) ─ docker0 ─ xbox3
 */
import assert from 'node:assert/strict';
import fs from 'node:fs';
import process from 'node:process';
import { after, before, describe, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Running } from '../../src/lab/command.js';
import type { Container } from '../../src/lab/container.js';
import { enterLab, labLacks } from '../../src/lab/enter.js';
import type { Etcd } from '../../src/lab/etcd.js';
import { type Host, WEFT } from '../../src/lab/host.js';
import { Lab } from '../../src/lab/lab.js';
import { formatSubnetFile, SUBNET_FILE } from '../../src/lab/subnet-file.js';
import type { HostGwStatus } from '../../src/operate/status/status.js';
import { until } from '../control/fakes.js';
import { PREFIX, ping, tcpTransfer, weftFlags } from './overlay.js';
import { toldSince } from './spoil.js';

const lacks = labLacks({ programs: ['etcd', 'iptables'] });
if (lacks === undefined && !Lab.inside()) process.exit(await enterLab());

const SUBNETS = `${PREFIX}/subnets`;
const CONFIG = '{"Network":"10.10.0.0/16","Backend":{"Type":"host-gw"}}';
const value = (publicIp: string) =>
  `{"PublicIP":"${publicIp}","PublicIPv6":null,"BackendType":"host-gw"}`;
const [OWN, OTHER, PLAIN] = ['10.10.11.0', '10.10.12.0', '10.10.13.0'] as const;
/** Runs a program where there is no /dev/net/tun, as on kernels without a TUN. */
const WITHOUT_TUN = [
  ...['unshare', '--mount', 'sh', '-c'],
  ...['mount -t tmpfs none /dev/net && exec "$@"', 'sh'],
];

describe('host-gw', { skip: lacks ?? false, timeout: 600_000 }, () => {
  let lab: Lab;
  let etcd: Etcd;
  let host: Host;
  let other: Host;
  let plain: Host;
  let weft: Running;
  const boxes: Container[] = [];
  /** How many warnings the changes of the host came to. */
  let changed = 0;

  const start = async (on: Host, ...more: string[]): Promise<Running> => {
    const running = on.weft(...weftFlags(etcd), ...more);
    await running.waitFor(/ready: host-gw 10\.10\.\d+\.0\/24, MTU 1500, \d+ peers?$/m, 60_000);
    return running;
  };
  const say = async (command: string) =>
    (await host.run([process.execPath, WEFT, ...command.split(' ')], { mayFail: true })).stdout;
  const status = async (): Promise<HostGwStatus> => JSON.parse(await say('status --json'));
  const routes = async (): Promise<string[]> =>
    (await host.run(['ip', 'route', 'show', 'root', '10.10.0.0/16'])).stdout
      .split('\n')
      .map((line) => line.trim())
      .filter((line) => line !== '' && !line.includes('docker0'))
      .sort();
  const via = (subnet: string, address: string) => `${subnet}/24 via ${address} dev ens33`;
  const BOTH = [via(OTHER, '192.168.56.12'), via(PLAIN, '192.168.56.13')];

  before(async () => {
    lab = await Lab.open();
    const network = await lab.network();
    etcd = await network.etcd();
    await etcd.put(`${PREFIX}/config`, CONFIG);
    for (const [subnet, address] of [
      [OWN, '192.168.56.11'],
      [OTHER, '192.168.56.12'],
      [PLAIN, '192.168.56.13'],
    ]) {
      await etcd.put(`${SUBNETS}/${subnet}-24`, value(address!));
    }
    host = await network.host('weft1', { address: '192.168.56.11/24' });
    other = await network.host('weft2', { address: '192.168.56.12/24' });
    plain = await network.host('plain', { address: '192.168.56.13/24' });
    const file = { network: '10.10.0.0/16', subnet: '10.10.13.1/24', mtu: 1500, ipMasq: false };
    plain.write(SUBNET_FILE, formatSubnetFile(file));
    await plain.ip(
      `route add ${OWN}/24 via 192.168.56.11`,
      `route add ${OTHER}/24 via 192.168.56.12`,
    );
    // On hosts that have no TUN at all.
    const argv = [process.execPath, WEFT, 'up', ...weftFlags(etcd)];
    weft = host.start([...WITHOUT_TUN, ...argv], { name: 'weft up' });
    await weft.waitFor(/ready: host-gw 10\.10\.11\.0\/24, MTU 1500, 2 peers$/m, 60_000);
    await start(other);
    for (const [i, on] of [host, other, plain].entries()) {
      boxes.push(await on.container(`xbox${i + 1}`));
    }
  });
  after(() => lab?.close());

  test('lease, subnet.env and routes are those of flannel; no device, no UDP port', async () => {
    assert.equal(await etcd.get(`${SUBNETS}/${OWN}-24`), value('192.168.56.11'));
    assert.equal(
      host.read(SUBNET_FILE),
      `FLANNEL_NETWORK=10.10.0.0/16\nFLANNEL_SUBNET=10.10.11.1/24\nFLANNEL_MTU=1500\nFLANNEL_IPMASQ=false\n`,
    );
    assert.deepEqual(await routes(), BOTH);
    const links = JSON.parse((await host.run(['ip', '-j', 'link'])).stdout) as { ifname: string }[];
    assert.deepEqual(
      links.map(({ ifname }) => ifname).filter((name) => !/^veth/.test(name)),
      ['lo', 'ens33', 'docker0'],
    );
    assert.equal((await host.run(['cat', '/proc/net/udp'])).stdout.trim().split('\n').length, 1);
    const rules = (await host.run(['iptables', '-S', 'FLANNEL-FWD'])).stdout;
    assert.match(rules, /-s 10\.10\.0\.0\/16 .*-j ACCEPT/);
  });

  test('weft status tells the backend', async () => {
    const { backend, mtu, peers, lease, routes: told } = await status();
    assert.deepEqual(
      [backend, mtu, lease.subnet, told.problems],
      ['host-gw', 1500, `${OWN}/24`, []],
    );
    const withoutHealth = peers.map(({ health: _, ...peer }) => peer);
    assert.deepEqual(withoutHealth, [
      { subnet: `${OTHER}/24`, publicIp: '192.168.56.12', direct: true },
      { subnet: `${PLAIN}/24`, publicIp: '192.168.56.13', direct: true },
    ]);
    assert.match(await say('status'), /^backend +host-gw, MTU 1500/m);
    const files = fs.readdirSync(host.path('/run/weft')).filter((name) => !/saved$/.test(name));
    assert.deepEqual(files.sort(), ['host-gw.json', 'host-gw.sock']);
  });

  test('containers reach each other at the full MTU', async () => {
    const [one, two, three] = boxes as [Container, Container, Container];
    for (const [from, to] of [
      [one, two],
      [two, one],
      [one, three],
      [three, one],
    ] as const) {
      await ping(from, to);
      await from.run(['ping', '-M', 'do', '-c', '1', '-W', '2', '-s', '1472', to.address]);
      await tcpTransfer(from, to, 1_000_000);
    }
  });

  test('what others change is put right; another MTU or interface of the underlay is followed', async () => {
    const mtu = () => /^FLANNEL_MTU=(\d+)$/m.exec(host.read(SUBNET_FILE) ?? '')?.[1];
    await host.ip(`route del ${OTHER}/24`);
    await until(async () => (await routes()).length === 2);
    await weft.waitFor(/W .*put right: 1 missing route$/m, 60_000);

    await host.ip('link set ens33 mtu 1400');
    await until(async () => mtu() === '1400', 20_000);
    assert.equal((await status()).mtu, 1400);
    await host.ip('link set ens33 mtu 1500');
    await until(async () => mtu() === '1500', 20_000);

    await host.ip(
      'link add br9 type bridge',
      'link set br9 up',
      'link set ens33 master br9',
      'addr del 192.168.56.11/24 dev ens33',
      'addr add 192.168.56.11/24 dev br9',
    );
    const bridged = BOTH.map((route) => route.replace('ens33', 'br9'));
    await until(async () => (await routes()).join() === bridged.join(), 20_000);
    await ping(boxes[0]!, boxes[1]!);
    await host.ip(
      'addr del 192.168.56.11/24 dev br9',
      'link set ens33 nomaster',
      'link del br9',
      'addr add 192.168.56.11/24 dev ens33',
    );
    await until(async () => (await routes()).join() === BOTH.join(), 20_000);
    await ping(boxes[0]!, boxes[1]!);
    await weft.waitFor(/W .*underlay ens33: ens33 in place of br9/, 60_000);
    changed = toldSince(weft).filter((line) => line.startsWith('W ')).length;
  });

  test('leases of other backends, and hosts that are no neighbours, are named once', async () => {
    await etcd.put(
      `${SUBNETS}/10.10.50.0-24`,
      '{"PublicIP":"192.168.56.50","PublicIPv6":null,"BackendType":"vxlan","BackendData":{"VNI":1,"VtepMAC":"02:00:00:00:00:ac"}}',
    );
    await etcd.put(`${SUBNETS}/10.10.51.0-24`, value('10.55.55.55'));
    await etcd.put(`${SUBNETS}/10.10.52.0-24`, value('192.168.56.52'));
    await until(async () => (await routes()).includes(via('10.10.52.0', '192.168.56.52')));
    const added = (await routes()).filter((line) => /^10\.10\.5/.test(line));
    assert.deepEqual(added, [via('10.10.52.0', '192.168.56.52')]);
    const problem = 'no route to 10.10.51.0/24: 10.55.55.55 is not on the network of ens33';
    assert.deepEqual((await status()).routes.problems, [problem]);
    await until(async () => toldSince(weft).some((line) => line.endsWith(problem)));
    assert.match(await say('status'), /^ +10\.10\.51\.0\/24 +10\.55\.55\.55 +no route$/m);
    for (const n of [50, 51, 52]) await etcd.delete(`${SUBNETS}/10.10.${n}.0-24`);
    await until(async () => (await routes()).length === 2);
    const lines = toldSince(weft).filter((line) => line.startsWith('W '));
    const said = lines.map((line) => line.replace(/^W \S+ /, ''));
    assert.match(said[0]!, /^there is no TUN to be had here: only host-gw goes without$/);
    assert.deepEqual(said.slice(changed), [
      'lease 10.10.50.0-24 is not used: its BackendType is "vxlan", not "host-gw"',
      `a route is not in the kernel's table: ${problem}`,
    ]);
  });

  test('a peer that moves takes its route along', async () => {
    await etcd.put(`${SUBNETS}/10.10.52.0-24`, value('192.168.56.52'));
    await until(async () => (await routes()).includes(via('10.10.52.0', '192.168.56.52')));
    await etcd.put(`${SUBNETS}/10.10.52.0-24`, value('192.168.56.99'));
    await until(async () => (await routes()).includes(via('10.10.52.0', '192.168.56.99')));
    assert.equal((await routes()).length, 3);
    await etcd.delete(`${SUBNETS}/10.10.52.0-24`);
    await until(async () => (await routes()).length === 2);
  });

  test('a second weft, and a public IP behind a NAT, are refused', async () => {
    const refused = async (...flags: string[]) => {
      const up = host.weft(...weftFlags(etcd), ...flags);
      assert.equal(await Promise.race([up.exited, sleep(8_000, undefined)]), 1, up.output);
      return up.output.split('\n').filter((line) => line.startsWith('E '));
    };
    const [second, ...none] = await refused();
    assert.match(second!, /host-gw is in use by the running weft with process id \d+/);
    assert.deepEqual(none, []);
    const [nat] = await refused('-public-ip=203.0.113.7');
    assert.match(nat!, /public IP 203\.0\.113\.7 is not the address of ens33, 192\.168\.56\.11/);
  });

  test('SIGTERM leaves the routes; a restart removes what is stale, of the old backend too', async () => {
    assert.equal(await weft.stop(), 0);
    assert.deepEqual(await routes(), BOTH);
    await ping(boxes[0]!, boxes[1]!);
    await etcd.delete(`${SUBNETS}/${PLAIN}-24`);
    weft = await start(host);
    assert.deepEqual(await routes(), BOTH.slice(0, 1));
    assert.equal(await weft.stop(), 0);
    const journals = fs.readdirSync(host.path('/run/weft')).filter((name) => /json$/.test(name));
    assert.deepEqual(journals, ['host-gw.json']);

    if (labLacks({ tun: true }) === undefined) {
      await etcd.put(`${PREFIX}/config`, '{"Network":"10.10.0.0/16","Backend":{"Type":"vxlan"}}');
      weft = host.weft(...weftFlags(etcd));
      await weft.waitFor(/ready: flannel\.1/, 60_000);
      assert.deepEqual(await routes(), [], 'the peer is of the old backend');
      assert.equal(await weft.stop(), 0);
      await etcd.put(`${PREFIX}/config`, CONFIG);
    }
    weft = await start(host);
    assert.equal(await etcd.get(`${SUBNETS}/${OWN}-24`), value('192.168.56.11'));
    assert.deepEqual(await routes(), BOTH.slice(0, 1));
  });

  test('weft down takes the routes back after the end, not before', async () => {
    const early = await host.run([process.execPath, WEFT, 'down'], { mayFail: true });
    assert.equal(early.code, 1);
    assert.match(early.stderr, /weft still runs for host-gw/);
    weft.kill('SIGKILL');
    await weft.exited;
    assert.match(await say('down'), /1 route was removed\./);
    assert.deepEqual(await routes(), []);
    assert.deepEqual(fs.readdirSync(host.path('/run/weft')), []);
    assert.equal(host.read(SUBNET_FILE), undefined);
  });
});
