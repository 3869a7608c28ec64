/**
 * Other overlays that live in userspace, from Debian's packages, on the bench's two hosts. Each
 * at its best settings: the largest MTU that fits, a TUN queue as long as weft's, its own number
 * of threads. They are not in any default set, and not installed by the set-up.
 *
 *   wireguard-go   WireGuard in Go: encrypts; the wire carries 60 bytes a packet
 *   nebula         an overlay in Go: encrypts; 60 bytes a packet
 *   ovs            Open vSwitch's userspace datapath with a VXLAN port: 50 bytes a packet. The
 *                  wire is a port of its bridge, so it moves each frame through AF_PACKET
 *
 * The daemons run in the foreground, in the lab, and end with it.
 */
import fs from 'node:fs';
import { findProgram } from '../src/lab/enter.js';
import type { Host } from '../src/lab/host.js';
import type { Peer } from '../src/lab/lease.js';
import { formatSubnetFile, SUBNET_FILE } from '../src/lab/subnet-file.js';

export type Overlay = 'wireguard-go' | 'nebula' | 'ovs';

interface Kind {
  readonly programs: readonly string[];
  /** Debian's packages. */
  readonly packages: string;
  readonly mtu: number;
  start(ends: readonly [End, End]): Promise<void>;
}

interface End {
  readonly host: Host;
  readonly peer: Peer;
  /** The host's address in the overlay; the routes' gateway where there is one. */
  readonly inner: string;
}

const TXQUEUELEN = 5000;

const KINDS: Readonly<Record<Overlay, Kind>> = {
  'wireguard-go': {
    programs: ['wireguard-go', 'wg'],
    packages: 'wireguard-go wireguard-tools',
    mtu: 1440,
    start: startWireguard,
  },
  nebula: {
    programs: ['nebula', 'nebula-cert'],
    packages: 'nebula',
    mtu: 1440,
    start: startNebula,
  },
  ovs: {
    programs: ['ovs-vswitchd', 'ovsdb-server', 'ovsdb-tool', 'ovs-vsctl'],
    packages: 'openvswitch-switch',
    mtu: 1450,
    start: startOvs,
  },
};

export function isOverlay(name: string): name is Overlay {
  return Object.hasOwn(KINDS, name);
}

/** What to install for it, as one line; undefined when it is there, or no overlay of these. */
export function overlayLacks(name: string): string | undefined {
  if (!isOverlay(name)) return undefined;
  const { programs, packages } = KINDS[name];
  if (programs.every((program) => findProgram(program) !== undefined)) return undefined;
  return `${name} is not installed and left out: apt-get install --no-install-recommends ${packages}`;
}

/** Starts it on both hosts, and writes what their containers need. */
export async function startOverlay(
  overlay: Overlay,
  hosts: readonly [Host, Host],
  peers: readonly [Peer, Peer],
): Promise<void> {
  const { mtu, start } = KINDS[overlay];
  const ends = [
    { host: hosts[0], peer: peers[0], inner: '10.99.0.1' },
    { host: hosts[1], peer: peers[1], inner: '10.99.0.2' },
  ] as const;
  await start(ends);
  for (const { host, peer } of ends) {
    const subnet = peer.subnet.replace('0/24', '1/24');
    const file = { network: '10.10.0.0/16', subnet, mtu, ipMasq: false };
    host.write(SUBNET_FILE, formatSubnetFile(file));
  }
}

const turned = ([a, b]: readonly [End, End]) =>
  [
    [a, b],
    [b, a],
  ] as const;

async function startWireguard(ends: readonly [End, End]): Promise<void> {
  const keys = new Map<End, string>();
  for (const end of ends) {
    const secret = (await end.host.run(['wg', 'genkey'])).stdout;
    const open = (await end.host.run(['wg', 'pubkey'], { input: secret })).stdout.trim();
    end.host.write('/run/wg.key', secret);
    keys.set(end, open);
  }
  for (const [{ host, inner }, other] of turned(ends)) {
    // Where the kernel has WireGuard itself, it asks to be sure.
    const env = { WG_I_PREFER_BUGGY_USERSPACE_TO_POLISHED_KMOD: '1' };
    host.start(['wireguard-go', '-f', 'wg0'], { env });
    await waitForDevice(host, 'wg0');
    await host.run([
      ...['wg', 'set', 'wg0', 'listen-port', '51820', 'private-key', '/run/wg.key'],
      ...['peer', keys.get(other)!, 'endpoint', `${other.peer.publicIp}:51820`],
      ...['allowed-ips', `${other.peer.subnet},${other.inner}/32`],
    ]);
    await host.ip(
      `address add ${inner}/24 dev wg0`,
      `link set wg0 mtu ${KINDS['wireguard-go'].mtu} txqueuelen ${TXQUEUELEN} up`,
      `route add ${other.peer.subnet} dev wg0`,
    );
  }
}

async function startNebula(ends: readonly [End, End]): Promise<void> {
  const { mtu } = KINDS.nebula;
  const [first] = ends;
  const certify = (host: Host, ...argv: string[]) => host.run(['nebula-cert', ...argv]);
  // Which both hosts see.
  const place = `/run/shared/${first.host.name}`;
  await first.host.run(['mkdir', '-p', place]);
  const authority = ['-out-crt', `${place}/ca.crt`, '-out-key', `${place}/ca.key`];
  await certify(first.host, 'ca', '-name', 'bench', ...authority);
  for (const [{ host, peer, inner }, other] of turned(ends)) {
    const own = `${place}/${host.name}`;
    await certify(
      host,
      ...['sign', '-ca-crt', `${place}/ca.crt`, '-ca-key', `${place}/ca.key`],
      ...['-name', host.name, '-ip', `${inner}/24`, '-subnets', peer.subnet],
      ...['-out-crt', `${own}.crt`, '-out-key', `${own}.key`],
    );
    const any = { port: 'any', proto: 'any', host: 'any' };
    const config = {
      pki: { ca: `${place}/ca.crt`, cert: `${own}.crt`, key: `${own}.key` },
      static_host_map: { [other.inner]: [`${other.peer.publicIp}:4242`] },
      lighthouse: { am_lighthouse: false, hosts: [] },
      listen: { host: '0.0.0.0', port: 4242, read_buffer: 8 << 20, write_buffer: 8 << 20 },
      tun: {
        dev: 'nebula1',
        mtu,
        tx_queue: TXQUEUELEN,
        unsafe_routes: [{ route: other.peer.subnet, via: other.inner, mtu }],
      },
      firewall: { outbound: [any], inbound: [any] },
    };
    // JSON is YAML.
    host.write('/run/nebula.yml', JSON.stringify(config));
    host.start(['nebula', '-config', '/run/nebula.yml']);
    await waitForDevice(host, 'nebula1');
  }
}

async function startOvs(ends: readonly [End, End]): Promise<void> {
  const { mtu } = KINDS.ovs;
  for (const [{ host, peer, inner }, other] of turned(ends)) {
    const run = '/run/ovs';
    const env = { OVS_RUNDIR: run, OVS_DBDIR: run, OVS_LOGDIR: run };
    fs.mkdirSync(host.path(run));
    const database = `unix:${run}/db.sock`;
    const schema = '/usr/share/openvswitch/vswitch.ovsschema';
    await host.run(['ovsdb-tool', 'create', `${run}/conf.db`, schema]);
    host.start(['ovsdb-server', `${run}/conf.db`, `--remote=punix:${run}/db.sock`], { env });
    const configure = (...argv: string[]) =>
      host.run(['ovs-vsctl', `--db=${database}`, '--retry', '--timeout=15', ...argv], { env });
    await configure('--no-wait', 'init');
    host.start(['ovs-vswitchd', database], { env });
    // Its tunnels leave by a bridge of its own that has the underlay's address.
    await host.ip('address flush dev ens33');
    await configure(
      ...['add-br', 'under', '--', 'set', 'bridge', 'under', 'datapath_type=netdev'],
      ...['--', 'add-port', 'under', 'ens33'],
      ...['--', 'add-br', 'over', '--', 'set', 'bridge', 'over', 'datapath_type=netdev'],
      ...['--', 'add-port', 'over', 'vxlan0', '--', 'set', 'interface', 'vxlan0', 'type=vxlan'],
      `options:remote_ip=${other.peer.publicIp}`,
      `options:local_ip=${peer.publicIp}`,
      'options:key=1',
    );
    await host.ip(
      `address add ${peer.publicIp}/24 dev under`,
      'link set under up',
      `address add ${inner}/24 dev over`,
      `link set over mtu ${mtu} txqueuelen ${TXQUEUELEN} up`,
      `route add ${other.peer.subnet} via ${other.inner} dev over`,
    );
  }
}

/** Waits until the daemon has made its device, 5 s at most. */
async function waitForDevice(host: Host, device: string): Promise<void> {
  for (let tries = 0; tries < 50; tries += 1) {
    const { code } = await host.run(['ip', 'link', 'show', device], { mayFail: true });
    if (code === 0) return;
    await new Promise((resolve) => setTimeout(resolve, 100));
  }
  throw new Error(`${host.name} got no ${device} within 5 s`);
}
