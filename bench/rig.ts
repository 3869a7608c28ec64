/**
 * The rig of the side-by-side bench: for each system two hosts on a wire of their own, and a
 * container behind each. All pairs live in one lab, so that runs can be interleaved.
 *
 *   container ─ docker0 ─ host ─ ens33 ══ wire ══ ens33 ─ host ─ docker0 ─ container
 *
 * The containers are the lab's, or those of a Docker engine on each host.
 */
import fs from 'node:fs';
import type { Container } from '../src/lab/container.js';
import { Docker, type DockerContainer } from '../src/lab/docker.js';
import { type Host, WEFT } from '../src/lab/host.js';
import { packImage } from '../src/lab/image.js';
import type { Lab } from '../src/lab/lab.js';
import { leaseKey, leaseValue } from '../src/lab/lease.js';
import type { Status } from '../src/operate/status/status.js';
import type { Programs } from './build-c.js';
import { startComparator } from './comparator.js';
import { isOverlay, type Overlay, startOverlay } from './overlays.js';

/**
 * Where a VTEP lives: in the kernel, in C, in another overlay's daemon, in weft (`weft:sendmmsg`: at a tier;
 * `weft@FOLDER`: another build of it, to compare two).
 */
export type Vtep = 'kernel' | 'limit' | 'one-packet' | Overlay | `weft${string}`;

/** A VTEP at either end: `weft`, or `weft>kernel` for different ones. */
export interface System {
  readonly name: string;
  readonly vteps: readonly [Vtep, Vtep];
}

export type Wire = 'plain' | 'on';

/** A container, as far as what is measured needs to know it. */
export type End = Pick<Container, 'address' | 'holder' | 'run' | 'start'>;

export interface Pair {
  readonly system: System;
  readonly hosts: readonly [Host, Host];
  /** Where iperf3 runs. */
  readonly ends: readonly [End, End];
  /** The same for programs of this machine, which the image of a Docker container has not. */
  readonly networks: readonly [End, End];
}

export function isWeft(vtep: Vtep): boolean {
  return /^weft(@|:|$)/.test(vtep);
}

export function parseSystem(name: string): System {
  const [left = '', right = left] = name.split('>');
  return { name, vteps: [left as Vtep, right as Vtep] };
}

const ADDRESSES = ['192.168.56.11', '192.168.56.12'] as const;

export interface PairOptions {
  readonly system: System;
  readonly wire: Wire;
  /** Tells the pairs of one lab apart. */
  readonly number: number;
  /** Whether the containers are those of Docker engines. */
  readonly docker: boolean;
  /** Of `weft up`, beside those that it needs here. */
  readonly flags?: readonly string[];
}

export async function openPair(
  lab: Lab,
  programs: Programs,
  { system, wire, number, docker, flags: more = [] }: PairOptions,
): Promise<Pair> {
  const peers = ADDRESSES.map((publicIp, end) => ({
    publicIp,
    subnet: `10.10.${end + 1}.0/24`,
    mac: `02:00:00:00:00:0${end + 1}`,
  }));
  const offloads = wire === 'on';
  const hosts = await lab.wire(
    [`h${number}a`, `h${number}b`],
    [
      { address: `${ADDRESSES[0]}/24`, offloads },
      { address: `${ADDRESSES[1]}/24`, offloads },
    ],
  );
  const store = `${lab.shared}/network.json`;
  const subnets = Object.fromEntries(
    peers.map((peer) => [leaseKey(peer), JSON.parse(leaseValue(peer))]),
  );
  const config = { Network: '10.10.0.0/16', SubnetLen: 24, Backend: { Type: 'vxlan' } };
  fs.writeFileSync(store, JSON.stringify({ config, subnets }));

  for (const [end, vtep] of system.vteps.entries()) {
    const host = hosts[end]!;
    const own = peers[end]!;
    const others = [peers[1 - end]!];
    if (vtep === 'kernel') {
      await host.kernelPeer({ ...own, peers: others });
    } else if (vtep === 'limit' || vtep === 'one-packet') {
      await startComparator(host, programs, vtep, { own, peers: others });
    } else if (isOverlay(vtep)) {
      await startOverlay(host, vtep, { own, other: others[0]! });
    } else {
      const [, build, tier] = /^weft(?:@([^:]+))?(?::(.+))?$/.exec(vtep) ?? [];
      const command = build === undefined ? WEFT : `${build}/dist/src/cli/weft.js`;
      const flags = ['-store-file=/run/shared/network.json', '-iface=ens33', ...more];
      if (tier !== undefined) flags.push(`-offload=${tier}`);
      const weft = host.start([process.execPath, command, 'up', ...flags]);
      await weft.waitFor(/ready/, 10_000);
    }
  }
  const names = [`c${number}a`, `c${number}b`] as const;
  const pair = docker
    ? await withDocker(lab, hosts, names)
    : plain([await hosts[0].container(names[0]), await hosts[1].container(names[1])]);
  const [from, to] = pair.networks;
  await from.run(['ping', '-c', '2', '-i', '0.1', '-W', '2', to.address]);
  return { system, hosts, ...pair };
}

type Ends = Pick<Pair, 'ends' | 'networks'>;

const plain = (ends: readonly [Container, Container]): Ends => ({ ends, networks: ends });

/**
 * An engine on each host, on the subnet of its subnet.env, and a container with iperf3 on each.
 * Nobody masquerades, as for the lab's own containers.
 */
async function withDocker(
  lab: Lab,
  hosts: readonly [Host, Host],
  names: readonly [string, string],
): Promise<Ends> {
  const folder = `${lab.directory('shared', 'images')}/iperf3`;
  if (!fs.existsSync(`${folder}.tar`)) {
    await packImage(folder, { programs: ['busybox', 'iperf3'] });
  }
  const start = async (end: 0 | 1): Promise<DockerContainer> => {
    const { subnet, mtu } = hosts[end].subnetFile()!;
    const options = [`--bip=${subnet}`, `--mtu=${mtu}`, '--ip-masq=false'];
    const engine = await Docker.start(hosts[end], options);
    await engine.import('/run/shared/images/iperf3.tar', 'iperf3', ['sh']);
    return engine.container(names[end], 'iperf3');
  };
  const ends = [await start(0), await start(1)] as const;
  return { ends, networks: [ends[0].network, ends[1].network] };
}

/** The status of the weft on a host of the lab. */
export async function weftStatus(host: Host): Promise<Status> {
  const { stdout } = await host.run([process.execPath, WEFT, 'status', '--json'], {
    mayFail: true,
  });
  return JSON.parse(stdout) as Status;
}

/** Resident memory of a process now and at most so far, in MB. */
export function memoryOf(pid: number): { now: number; most: number } {
  const status = fs.readFileSync(`/proc/${pid}/status`, 'utf8');
  const of = (field: string): number =>
    Number(new RegExp(`${field}:\\s+(\\d+)`).exec(status)?.[1] ?? Number.NaN) * 1.024e-3;
  return { now: of('VmRSS'), most: of('VmHWM') };
}

/** The same of the weft on a pair's first host; undefined where there is none. */
export async function weftMemory(pair: Pair): Promise<{ now: number; most: number } | undefined> {
  if (!isWeft(pair.system.vteps[0])) return undefined;
  return memoryOf((await weftStatus(pair.hosts[0])).pid);
}
