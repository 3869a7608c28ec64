/** Probes peers of a running weft, or hosts on the underlay: for `weft probe` and `weft doctor`. */
import { systemClock } from '../../control/daemon/clock.js';
import { Echo } from '../../control/host/echo.js';
import { HostError, textOf } from '../../control/host/errors.js';
import { chooseInterface } from '../../control/host/interfaces.js';
import type { Ip } from '../../control/host/ip.js';
import { contains, parseAddress, parsePrefix } from '../../control/host/ipv4.js';
import { Ping } from '../../control/host/ping.js';
import { systemRunner } from '../../control/host/runner.js';
import { findWays } from '../../control/host/ways.js';
import { type Probed, probe, type Target, type Tools } from '../../operate/diagnose/probe.js';
import { readStatus } from '../../operate/status/socket.js';
import { type HostGwStatus, isStarting, type Status } from '../../operate/status/status.js';
import type { PeerSeen } from '../../operate/status/traffic.js';
import { UsageError } from '../flags.js';

/** Where no weft says another. */
const PORT = 8472;

export type Ready = Status | HostGwStatus;
type Sender = Pick<Echo, 'send'> & { close?: () => void };

/** A weft that runs here, and how to ask it again. */
export interface Asked {
  readonly status: Ready;
  readonly file: string;
}

/** The peers that were named; all where none was. Throws a UsageError for one that is no peer. */
export function pick({ peers, lease, underlay }: Ready, names: readonly string[]): Target[] {
  if (names.length === 0) return [...peers];
  return names.flatMap((name) => {
    const wanted = parsePrefix(name);
    const found = peers.filter(({ publicIp, subnet }) => {
      const inside = parsePrefix(subnet);
      return publicIp === name || (wanted && inside && contains(inside, wanted));
    });
    if (found.length > 0) return found;
    if (wanted === null)
      throw new UsageError(`${JSON.stringify(name)} is no IPv4 address or subnet`);
    const own = parsePrefix(lease.subnet);
    const here = name === underlay.publicIp || (own !== null && contains(own, wanted));
    throw new UsageError(
      here ? `${name} is this host itself` : `${name} is no peer, nor inside the subnet of one`,
    );
  });
}

/** Rejects with a HostError where nothing can be asked. */
export async function probePeers(
  ip: Ip,
  { status, file }: Asked,
  targets: readonly Target[],
  count: number,
  progress: Tools['progress'],
): Promise<Probed[]> {
  if (targets.length === 0) return [];
  const { address: here, interface: underlay } = status.underlay;
  const iface = await chooseInterface(systemRunner, { iface: [here] }).catch(() => undefined);
  const vxlan = status.backend === 'vxlan' ? status : undefined;
  const [tunnelName, overlay] = [vxlan?.device.name ?? '', vxlan?.device.address.split('/')[0]];
  const seen = async () => {
    const now = vxlan === undefined ? undefined : await readStatus(file).catch(() => undefined);
    return now === undefined || isStarting(now) || now.backend !== 'vxlan'
      ? undefined
      : seenBy(now);
  };
  const outside = await openSender(here, iface?.vrf);
  let tunnel: Sender | undefined;
  try {
    if (overlay !== undefined) tunnel = await openSender(overlay);
    return await probe(
      vxlan === undefined ? targets.map((one) => ({ ...one, direct: true })) : targets,
      { count, port: vxlan?.underlay.port ?? PORT, mtu: vxlan?.device.mtu ?? 0, here, underlay },
      {
        ...{ clock: systemClock, underlay: outside, tunnel, seen, progress },
        ways: (addresses) =>
          findWays(ip, addresses, { source: here, tunnel: tunnelName, vrf: iface?.vrf }),
      },
    );
  } finally {
    outside.close?.();
    tunnel?.close?.();
  }
}

function seenBy({ peers }: Status): ReadonlyMap<string, PeerSeen> {
  return new Map(peers.map(({ publicIp, seen }) => [publicIp, seen]));
}

/**
 * Hosts by their addresses, on the underlay alone, each from the address that the kernel would take.
 * Those that are asked from one address share a socket, and one such lot follows another: so many
 * hosts cost no more descriptors than one. Rejects with a HostError where nothing can be asked.
 */
export async function probeAddresses(
  ip: Ip,
  addresses: readonly string[],
  count: number,
  progress: Tools['progress'],
): Promise<Probed[]> {
  const probed = new Map<string, Probed>();
  for (const { here, underlay, targets } of await leavings(ip, [...new Set(addresses)])) {
    const sender = await openSender(here);
    try {
      const some = await probe(
        targets.map((publicIp) => ({ publicIp, subnet: undefined, direct: false })),
        { count, port: PORT, mtu: 0, here, underlay },
        {
          ...{ clock: systemClock, underlay: sender, tunnel: undefined, progress },
          seen: async () => undefined,
          ways: (all) => findWays(ip, all, { source: here, tunnel: '' }),
        },
      );
      for (const one of some) probed.set(one.publicIp, one);
    } finally {
      sender.close?.();
    }
  }
  return addresses.map((address) => probed.get(address)!);
}

interface Leaving {
  /** Where packets to the targets come from, and by which device they leave; empty: not known. */
  readonly here: string;
  readonly underlay: string;
  readonly targets: string[];
}

/** The addresses by how the kernel would send to them. */
async function leavings(ip: Ip, addresses: readonly string[]): Promise<Leaving[]> {
  const lineOf = (address: string): string => `route get ${address}`;
  const answers = await ip.queryAll(addresses.map(lineOf));
  const all = new Map<string, Leaving>();
  for (const address of addresses) {
    const answer = answers.get(lineOf(address));
    const row = typeof answer === 'object' ? (answer[0] as { prefsrc?: string; dev?: string }) : {};
    const here = row?.prefsrc ?? '0.0.0.0';
    const underlay = row?.dev ?? '';
    const key = `${here} ${underlay}`;
    const leaving = all.get(key) ?? { here, underlay, targets: [] };
    leaving.targets.push(address);
    all.set(key, leaving);
  }
  return [...all.values()];
}

/** A raw socket, or `ping` where there is none. Rejects with a HostError where neither may be used. */
async function openSender(source: string, vrf?: string): Promise<Sender> {
  const from = parseAddress(source) ?? 0;
  try {
    return await Echo.open({
      ...{ clock: systemClock, random: Math.random, source: () => from },
      ...{ port: PORT, device: vrf, hint: () => {} },
    });
  } catch (error) {
    const { code } = await systemRunner.run(['ping', '-V']).catch(() => ({ code: null }));
    if (code === 0) return new Ping(systemRunner, source, vrf);
    throw new HostError(
      'EPERM',
      `nothing can be asked: ${textOf(error)}, and there is no program ping (install iputils-ping)`,
    );
  }
}
