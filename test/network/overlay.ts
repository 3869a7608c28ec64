/**
 * What the network tests share: two hosts with a container each, joined through etcd, either
 * of them with weft or with the kernel's VXLAN; and the checks that every pair must pass.
 *
 *   xbox1 ─ docker0 ─ host1 ─ ens33 ══ switch ══ ens33 ─ host2 ─ docker0 ─ xbox2
 *                                         ╚══ etcd
 */
import assert from 'node:assert/strict';
import { fileURLToPath } from 'node:url';
import type { Running } from '../../src/lab/command.js';
import type { Container } from '../../src/lab/container.js';
import type { Etcd } from '../../src/lab/etcd.js';
import type { Host, HostOptions } from '../../src/lab/host.js';
import type { KernelPeer } from '../../src/lab/kernel-peer.js';
import { Lab } from '../../src/lab/lab.js';
import type { Namespace } from '../../src/lab/namespace.js';
import type { Network } from '../../src/lab/network.js';

export const PREFIX = '/docker-test/network';
/**
 * The configuration as the tutorials have it. A weft takes one of the first hundred free from 10.10.1.0 on;
 * what tests give to others lies above, since a host that loses its lease to another gives up.
 */
export const CONFIG = '{"Network":"10.10.0.0/16","Subnetlen":24,"Backend":{"Type":"Vxlan"}}';
export const TRAFFIC = fileURLToPath(new URL('./tools/traffic.js', import.meta.url));

export type Vtep = 'weft' | 'kernel';

export interface Overlay {
  readonly lab: Lab;
  readonly etcd: Etcd;
  readonly hosts: readonly [Host, Host];
  readonly containers: readonly [Container, Container];
  /** The wefts that run, in the order of their hosts. */
  readonly wefts: readonly Running[];
  close(): Promise<void>;
}

export function weftFlags(etcd: Etcd): string[] {
  return [`-etcd-endpoints=${etcd.endpoint}`, `-etcd-prefix=${PREFIX}`, '-iface=ens33'];
}

/** Starts weft on a host and waits until it is ready. */
export async function startWeft(host: Host, etcd: Etcd, ...more: string[]) {
  const weft = host.weft(...weftFlags(etcd), ...more);
  await weft.waitFor(/ready: flannel/, 60_000);
  return weft;
}

/** A host and an etcd with the usual config, and no weft yet. */
export interface Site {
  readonly lab: Lab;
  readonly network: Network;
  readonly etcd: Etcd;
  /** `host1`, 192.168.56.11. */
  readonly host: Host;
}

export async function openSite(options: Omit<HostOptions, 'address'> = {}): Promise<Site> {
  const lab = await Lab.open();
  try {
    const network = await lab.network();
    const etcd = await network.etcd();
    await etcd.put(`${PREFIX}/config`, CONFIG);
    const host = await network.host('host1', { address: '192.168.56.11/24', ...options });
    return { lab, network, etcd, host };
  } catch (error) {
    await lab.close();
    throw error;
  }
}

/** For tests that count packets: none of weft's own go to peers. */
export const NO_PROBES = '-probe-peers=false';

/**
 * Builds the overlay. `offloads: false` is the plain wire: every datagram is a packet. `config` adds
 * to the network's.
 */
export async function openOverlay(
  vteps: readonly [Vtep, Vtep],
  offloads: boolean,
  config: object = {},
): Promise<Overlay> {
  const lab = await Lab.open();
  const network = await lab.network();
  const etcd = await network.etcd();
  await etcd.put(`${PREFIX}/config`, JSON.stringify({ ...JSON.parse(CONFIG), ...config }));
  const hosts: Host[] = [];
  const kernelPeers: KernelPeer[] = [];
  const wefts: Running[] = [];
  for (const [i, vtep] of vteps.entries()) {
    const address = `192.168.56.${11 + i}/24`;
    const host = await network.host(`host${i + 1}`, { address, offloads });
    hosts.push(host);
    if (vtep === 'kernel') {
      const peer = await host.kernelPeer({ subnet: `10.10.${200 + i}.0/24` });
      kernelPeers.push(peer);
      await etcd.register(PREFIX, peer);
    }
  }
  for (const [i, vtep] of vteps.entries()) {
    if (vtep === 'weft') wefts.push(await startWeft(hosts[i]!, etcd, NO_PROBES));
  }
  const all = await etcd.peers(PREFIX);
  for (const peer of kernelPeers) {
    for (const other of all) if (other.publicIp !== peer.publicIp) await peer.addPeer(other);
  }
  const containers = [await hosts[0]!.container('xbox1'), await hosts[1]!.container('xbox2')];
  return {
    lab,
    etcd,
    hosts: [hosts[0]!, hosts[1]!],
    containers: [containers[0]!, containers[1]!],
    wefts,
    close: () => lab.close(),
  };
}

export async function ping(from: Container, to: Container): Promise<void> {
  await from.run(['ping', '-c', '3', '-i', '0.05', '-W', '2', to.address]);
}

/** Pings that travel in many fragments. */
export async function largePings(from: Container, to: Container): Promise<void> {
  for (const size of ['3000', '9000', '20000', '60000']) {
    await from.run(['ping', '-c', '2', '-i', '0.05', '-W', '2', '-s', size, to.address]);
  }
}

/** 1450 bytes with DF pass (1422 of payload); 1451 meet "fragmentation needed" at 1450. */
export async function pathMtu(from: Container, to: Container): Promise<void> {
  const df = ['ping', '-M', 'do', '-c', '1', '-W', '2'];
  await from.run([...df, '-s', '1422', to.address]);
  // The container's own link is larger for this, so that it is the host that refuses.
  await from.run(['ip', 'link', 'set', 'eth0', 'mtu', '1500']);
  try {
    const { code, stdout, stderr } = await from.run([...df, '-s', '1423', to.address], {
      mayFail: true,
    });
    assert.notEqual(code, 0);
    assert.match(stdout + stderr, /[Ff]rag(mentation)? needed.*mtu ?= ?1450/);
  } finally {
    await from.run(['ip', 'route', 'flush', 'cache']);
    await from.run(['ip', 'link', 'set', 'eth0', 'mtu', '1450']);
  }
}

/** A TCP transfer; the same number of bytes and SHA-256 at both ends. */
export async function tcpTransfer(
  from: Pick<Container, 'run'>,
  to: Pick<Container, 'address' | 'start'>,
  bytes: number,
): Promise<string> {
  const receiver = to.start([process.execPath, TRAFFIC, 'tcp-receive', '40000']);
  await receiver.waitFor(/listening/, 60_000);
  const sent = await from.run(
    [process.execPath, TRAFFIC, 'tcp-send', to.address, '40000', String(bytes)],
    { timeout: 60_000 },
  );
  const [, arrived] = await receiver.waitFor(/^(\d+ [0-9a-f]{64})$/m, 60_000);
  await receiver.stop();
  assert.equal(arrived, sent.stdout.trim());
  assert.ok(arrived!.startsWith(`${bytes} `));
  return arrived!;
}

/** UDP payloads of every size, there and back. */
export async function udpSizes(from: Container, to: Container, sizes: string): Promise<void> {
  const echo = to.start([process.execPath, TRAFFIC, 'udp-echo', '40001']);
  await echo.waitFor(/listening/, 60_000);
  const { stdout } = await from.run(
    [process.execPath, TRAFFIC, 'udp-ask', to.address, '40001', sizes],
    { timeout: 60_000 },
  );
  await echo.stop();
  assert.match(stdout, /sizes intact/);
}

/** A UDP super-packet from a container's socket arrives as its datagrams, in order. */
export async function udpSuperPacket(from: Container, to: Container): Promise<void> {
  const sizes = [...Array(7).fill(1200), 500];
  const total = 7 * 1200 + 500;
  const count = to.start([process.execPath, TRAFFIC, 'udp-count', '40002', String(sizes.length)]);
  await count.waitFor(/listening/, 60_000);
  await from.run([
    process.execPath,
    TRAFFIC,
    'udp-gso',
    to.address,
    '40002',
    '1200',
    String(total),
  ]);
  const [, arrived] = await count.waitFor(/^([\d,]+ \w+)$/m, 60_000);
  assert.equal(arrived, `${sizes.join(',')} right`);
}

/** UDP without checksums, of odd sizes and in fragments, arrives as it was sent. */
export async function udpWithoutSums(from: Container, to: Container): Promise<void> {
  const sizes = '1,100,100,100,1001,1422,3001,777,20001,12';
  const count = to.start([process.execPath, TRAFFIC, 'udp-count', '40003', '10']);
  await count.waitFor(/listening/, 60_000);
  await from.run([process.execPath, TRAFFIC, 'udp-no-sum', to.address, '40003', sizes]);
  const [, arrived] = await count.waitFor(/^([\d,]+ \w+)$/m, 60_000);
  assert.equal(arrived, `${sizes} right`);
}

/** IP options, and fragments of odd sizes without DF. */
export async function oddPings(from: Container, to: Container): Promise<void> {
  const few = ['-c', '2', '-i', '0.05', '-W', '2'];
  await from.run(['ping', ...few, '-R', '-s', '1301', to.address]);
  await from.run(['ping', ...few, '-T', 'tsonly', '-s', '5', to.address]);
  for (const size of ['1423', '2001', '4095']) {
    await from.run(['ping', ...few, '-M', 'dont', '-s', size, to.address]);
  }
}

/** A transfer in segments of 777 bytes, with TCP options and without. */
export async function oddTransfers(from: Container, to: Container): Promise<void> {
  for (const timestamps of [1, 0]) {
    for (const end of [from, to]) await end.sysctl(`net.ipv4.tcp_timestamps=${timestamps}`);
    for (const end of [from, to]) {
      await end.run(['ip', 'route', 'replace', ...(await defaultRoute(end)), 'advmss', '777']);
    }
    await tcpTransfer(from, to, 3_000_001);
  }
  for (const end of [from, to]) {
    await end.sysctl('net.ipv4.tcp_timestamps=1');
    await end.run(['ip', 'route', 'replace', ...(await defaultRoute(end)), 'advmss', '0']);
  }
}

async function defaultRoute(end: Container): Promise<string[]> {
  const { stdout } = await end.run(['ip', 'route', 'show', 'default']);
  return stdout.trim().split(' ').slice(0, 5);
}

/** The kernel's counts of bad checksums in a namespace, all protocols. */
export async function checksumErrors(space: Namespace): Promise<number> {
  const { stdout } = await space.run(['cat', '/proc/net/snmp']);
  const rows = stdout
    .trim()
    .split('\n')
    .map((line) => line.split(' '));
  let total = 0;
  for (let i = 0; i + 1 < rows.length; i += 2) {
    rows[i]!.forEach((name, column) => {
      if (name === 'InCsumErrors') total += Number(rows[i + 1]![column]);
    });
  }
  return total;
}
