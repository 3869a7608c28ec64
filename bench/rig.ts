/**
 * The rig of the side-by-side bench: for each system two hosts on a wire of their own, and a
 * container behind each. All pairs live in one lab, so that runs can be interleaved.
 *
 *   container ─ docker0 ─ host ─ ens33 ══ wire ══ ens33 ─ host ─ docker0 ─ container
 */
import fs from 'node:fs';
import process from 'node:process';
import type { Running } from '../src/lab/command.js';
import type { Container } from '../src/lab/container.js';
import { type Host, WEFT } from '../src/lab/host.js';
import type { Lab } from '../src/lab/lab.js';
import { leaseKey, leaseValue } from '../src/lab/lease.js';
import type { Programs } from './build-c.js';
import { startComparator } from './comparator.js';
import { isOverlay, type Overlay, startOverlay } from './overlays.js';

/**
 * Where a VTEP lives: in the kernel, in C, in weft (`weft:sendmmsg`: at a tier;
 * `weft@FOLDER`: another build of it, to compare two). Or another overlay, at both ends.
 */
export type Vtep = 'kernel' | 'limit' | 'one-packet' | `weft${string}` | Overlay;

/** A VTEP at either end: `weft`, or `weft>kernel` for different ones. */
export interface System {
  readonly name: string;
  readonly vteps: readonly [Vtep, Vtep];
}

export type Wire = 'plain' | 'on';

export interface Pair {
  readonly system: System;
  readonly hosts: readonly [Host, Host];
  readonly ends: readonly [Container, Container];
  /** The `weft up` of either end, where it is one. */
  readonly wefts: readonly (Running | undefined)[];
}

export interface PairOptions {
  /** What stands before `weft up` on the first host, such as `node --trace-gc`. */
  readonly node?: readonly string[];
}

export function parseSystem(name: string): System {
  const [left = '', right = left] = name.split('>');
  return { name, vteps: [left as Vtep, right as Vtep] };
}

const ADDRESSES = ['192.168.56.11', '192.168.56.12'] as const;

/** `number` tells the pairs of one lab apart. */
export async function openPair(
  lab: Lab,
  programs: Programs,
  system: System,
  wire: Wire,
  number: number,
  { node = [process.execPath] }: PairOptions = {},
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

  const wefts: (Running | undefined)[] = [undefined, undefined];
  for (const [end, vtep] of system.vteps.entries()) {
    const host = hosts[end]!;
    const own = peers[end]!;
    const others = [peers[1 - end]!];
    if (vtep === 'kernel') {
      await host.kernelPeer({ ...own, peers: others });
    } else if (isOverlay(vtep)) {
      if (system.vteps[1] !== vtep) throw new Error(`${vtep} speaks to itself alone`);
      if (end === 1) await startOverlay(vtep, hosts, [peers[0]!, peers[1]!]);
    } else if (vtep === 'limit' || vtep === 'one-packet') {
      await startComparator(host, programs, vtep, { own, peers: others });
    } else {
      const [, build, tier] = /^weft(?:@([^:]+))?(?::(.+))?$/.exec(vtep) ?? [];
      const command = build === undefined ? WEFT : `${build}/dist/src/cli/weft.js`;
      const flags = ['-store-file=/run/shared/network.json', '-iface=ens33'];
      if (tier !== undefined) flags.push(`-offload=${tier}`);
      const before = end === 0 ? node : [process.execPath];
      const weft = host.start([...before, command, 'up', ...flags]);
      wefts[end] = weft;
      await weft.waitFor(/ready/, 10_000);
    }
  }
  const ends = [
    await hosts[0].container(`c${number}a`),
    await hosts[1].container(`c${number}b`),
  ] as const;
  await ends[0].run(['ping', '-c', '2', '-i', '0.1', '-W', '2', ends[1].address]);
  return { system, hosts, ends, wefts };
}

/** Resident memory of the weft on a pair's first host, in MB; undefined where there is none. */
export async function weftMemory(pair: Pair): Promise<number | undefined> {
  if (!pair.system.vteps[0].startsWith('weft')) return undefined;
  const { stdout } = await pair.hosts[0].run([process.execPath, WEFT, 'status', '--json']);
  const { pid } = JSON.parse(stdout) as { pid: number };
  const status = fs.readFileSync(`/proc/${pid}/status`, 'utf8');
  return Number(/VmRSS:\s+(\d+)/.exec(status)?.[1] ?? 0) / 1000;
}
