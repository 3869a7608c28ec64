/**
 * Other overlays in userspace, from their Debian packages, for whoever asks for them by
 * `--systems=…,wireguard-go,nebula,ovs`: each in its daemon's foreground on a host of the lab, so
 * that it ends with it. Threads and offloads are as each has them by default, at their best:
 *
 *   wireguard-go   one peer, MTU 1420 (its header takes 80 bytes over IPv6); encrypts
 *   nebula         a certificate a host, the containers' subnets as unsafe_routes; encrypts
 *   ovs            Open vSwitch's userspace datapath: VXLAN as on the wire of the others, and
 *                  ens33 as a port of a second bridge, where the tunnel's packets come and go
 */
import { spawnSync } from 'node:child_process';
import fs from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import { findProgram } from '../src/lab/enter.js';
import type { Host } from '../src/lab/host.js';
import type { Peer } from '../src/lab/lease.js';
import { formatSubnetFile, SUBNET_FILE } from '../src/lab/subnet-file.js';

export type Overlay = 'wireguard-go' | 'nebula' | 'ovs';

interface Ends {
  readonly own: Peer;
  readonly other: Peer;
}

/** Programs that an overlay needs, and the Debian packages that bring them. */
const NEEDS: Readonly<Record<Overlay, { programs: string[]; packages: string }>> = {
  'wireguard-go': { programs: ['wireguard-go', 'wg'], packages: 'wireguard-go wireguard-tools' },
  nebula: { programs: ['nebula', 'nebula-cert'], packages: 'nebula' },
  ovs: {
    programs: ['ovsdb-server', 'ovs-vswitchd', 'ovs-vsctl', 'ovs-appctl', 'ovsdb-tool'],
    packages: 'openvswitch-switch',
  },
};

export function isOverlay(vtep: string): vtep is Overlay {
  return Object.hasOwn(NEEDS, vtep);
}

/** What is missing for an overlay, as a line that says what to do; undefined when nothing. */
export function overlayLacks(overlay: Overlay): string | undefined {
  const { programs, packages } = NEEDS[overlay];
  if (programs.every((name) => findProgram(name) !== undefined)) return undefined;
  return `${overlay} is left out: apt-get install --no-install-recommends ${packages}`;
}

const start = { 'wireguard-go': wireguard, nebula, ovs } as const;

/** Starts an overlay and waits until its device is there; then the host has a subnet.env. */
export async function startOverlay(host: Host, overlay: Overlay, ends: Ends): Promise<void> {
  const mtu = await start[overlay](host, ends);
  const subnet = ends.own.subnet.replace('.0/', '.1/');
  const file = { network: '10.10.0.0/16', subnet, mtu, ipMasq: false };
  host.write(SUBNET_FILE, formatSubnetFile(file));
}

/** The subnet's first address. */
function baseOf({ subnet }: Peer): string {
  return subnet.split('/')[0]!;
}

async function until(what: string, is: () => Promise<boolean> | boolean): Promise<void> {
  for (let tries = 0; tries < 100; tries += 1) {
    if (await is()) return;
    await sleep(100);
  }
  throw new Error(`${what} did not come within 10 s`);
}

function tool(argv: readonly string[], input = ''): string {
  const done = spawnSync(argv[0]!, argv.slice(1), { encoding: 'utf8', input });
  if (done.status !== 0) throw new Error(`${argv.join(' ')}: ${done.stderr}`);
  return done.stdout.trim();
}

/** Made once: the key pairs of both ends by public address. */
const keys = new Map<string, { private: string; public: string }>();

function keysOf({ publicIp }: Peer): { private: string; public: string } {
  let pair = keys.get(publicIp);
  if (pair === undefined) {
    const secret = tool(['wg', 'genkey']);
    pair = { private: secret, public: tool(['wg', 'pubkey'], secret) };
    keys.set(publicIp, pair);
  }
  return pair;
}

async function wireguard(host: Host, { own, other }: Ends): Promise<number> {
  const mtu = 1420;
  // The variable only keeps it from advising the kernel's module.
  const env = { WG_I_PREFER_BUGGY_USERSPACE_TO_POLISHED_KMOD: '1', LOG_LEVEL: 'error' };
  host.start(['wireguard-go', '--foreground', 'wg0'], { env });
  await until('wireguard-go', () => fs.existsSync(host.path('/run/wireguard/wg0.sock')));
  host.write('/run/wireguard/key', keysOf(own).private);
  await host.run([
    ...['wg', 'set', 'wg0', 'listen-port', '51820', 'private-key', '/run/wireguard/key'],
    ...['peer', keysOf(other).public, 'endpoint', `${other.publicIp}:51820`],
    ...['allowed-ips', `${other.subnet},${baseOf(other)}/32`],
  ]);
  await host.ip(
    `address add ${baseOf(own)}/32 dev wg0`,
    `link set wg0 mtu ${mtu} txqueuelen 5000 up`,
    `route add ${other.subnet} dev wg0`,
  );
  return mtu;
}

/** Where the certificates of a lab's nebula are, by its path in the supervisor. */
const NEBULA = '/run/lab/shared/nebula';

function nebulaAddress({ publicIp }: Peer): string {
  return publicIp.replace(/^\d+\.\d+\.\d+/, '10.99.0');
}

async function nebula(host: Host, { own, other }: Ends): Promise<number> {
  const mtu = 1420;
  const name = own.publicIp;
  if (!fs.existsSync(`${NEBULA}/ca.crt`)) {
    fs.mkdirSync(NEBULA, { recursive: true });
    const ca = ['-out-crt', `${NEBULA}/ca.crt`, '-out-key', `${NEBULA}/ca.key`];
    tool(['nebula-cert', 'ca', '-name', 'bench', ...ca]);
  }
  if (!fs.existsSync(`${NEBULA}/${name}.crt`)) {
    tool([
      ...['nebula-cert', 'sign', '-ca-crt', `${NEBULA}/ca.crt`, '-ca-key', `${NEBULA}/ca.key`],
      ...['-name', name, '-ip', `${nebulaAddress(own)}/24`, '-subnets', own.subnet],
      ...['-out-crt', `${NEBULA}/${name}.crt`, '-out-key', `${NEBULA}/${name}.key`],
    ]);
  }
  const any = [{ port: 'any', proto: 'any', host: 'any' }];
  // YAML takes JSON as it is.
  const config = {
    pki: {
      ca: '/run/shared/nebula/ca.crt',
      cert: `/run/shared/nebula/${name}.crt`,
      key: `/run/shared/nebula/${name}.key`,
    },
    static_host_map: { [nebulaAddress(other)]: [`${other.publicIp}:4242`] },
    lighthouse: { am_lighthouse: false, hosts: [] },
    listen: { host: '0.0.0.0', port: 4242, batch: 64 },
    tun: {
      ...{ dev: 'nebula1', mtu, tx_queue: 5000 },
      unsafe_routes: [{ route: other.subnet, via: nebulaAddress(other), mtu }],
    },
    logging: { level: 'warning' },
    firewall: { outbound: any, inbound: any },
  };
  host.write('/run/nebula.yml', JSON.stringify(config));
  host.start(['nebula', '-config', '/run/nebula.yml']);
  await until('nebula', async () => {
    const { stdout } = await host.run(['ip', 'route']);
    return stdout.includes(other.subnet);
  });
  return mtu;
}

async function ovs(host: Host, { own, other }: Ends): Promise<number> {
  const mtu = 1450;
  const folder = '/run/openvswitch';
  const socket = `unix:${folder}/db.sock`;
  const env = { OVS_RUNDIR: folder, OVS_LOGDIR: folder, OVS_DBDIR: folder };
  const run = (...argv: string[]) => host.run(argv, { env });
  host.write(`${folder}/.made`, '');
  const schema = '/usr/share/openvswitch/vswitch.ovsschema';
  await run('ovsdb-tool', 'create', `${folder}/conf.db`, schema);
  const remote = `--remote=p${socket}`;
  host.start(['ovsdb-server', `${folder}/conf.db`, remote, '-vconsole:err'], { env });
  await until('ovsdb-server', () => fs.existsSync(host.path(`${folder}/db.sock`)));
  const vsctl = (...words: string[]) => run('ovs-vsctl', '-t', '10', `--db=${socket}`, ...words);
  await vsctl('--no-wait', 'init');
  host.start(['ovs-vswitchd', socket, '-vconsole:err'], { env });
  const underlay = ['br-phy', '--', 'set', 'bridge', 'br-phy', 'datapath_type=netdev'];
  await vsctl('add-br', ...underlay, '--', 'add-port', 'br-phy', 'ens33');
  // The bridge answers for the address now, so it must have the card's MAC.
  const { stdout } = await host.run(['ip', '-j', 'link', 'show', 'ens33']);
  const [{ address }] = JSON.parse(stdout);
  await vsctl('set', 'bridge', 'br-phy', `other-config:hwaddr="${address}"`);
  await host.ip(
    `address del ${own.publicIp}/24 dev ens33`,
    `address add ${own.publicIp}/24 dev br-phy`,
    'link set br-phy up',
  );
  const tunnel = ['type=vxlan', 'options:key=1', 'options:dst_port=8472'];
  await vsctl(
    ...['add-br', 'br0', '--', 'set', 'bridge', 'br0', 'datapath_type=netdev'],
    ...[`other-config:hwaddr="${own.mac}"`, '--', 'set', 'interface', 'br0', `mtu_request=${mtu}`],
    ...['--', 'add-port', 'br0', 'vx0', '--', 'set', 'interface', 'vx0', ...tunnel],
    ...[`options:remote_ip=${other.publicIp}`, `options:local_ip=${own.publicIp}`],
  );
  await host.ip(
    `address add ${baseOf(own)}/32 dev br0`,
    'link set br0 txqueuelen 5000 up',
    `neighbour replace ${baseOf(other)} lladdr ${other.mac} dev br0 nud permanent`,
    `route add ${other.subnet} via ${baseOf(other)} dev br0 onlink`,
  );
  return mtu;
}
