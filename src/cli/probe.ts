/** `weft probe`: asks the peers of the running weft how it stands with them, and says it in words. */
import { systemClock } from '../control/daemon/clock.js';
import { Echo } from '../control/host/echo.js';
import { HostError, textOf } from '../control/host/errors.js';
import { chooseInterface } from '../control/host/interfaces.js';
import { Ip } from '../control/host/ip.js';
import { contains, parseAddress, parsePrefix } from '../control/host/ipv4.js';
import { Ping } from '../control/host/ping.js';
import { systemRunner } from '../control/host/runner.js';
import { findWays } from '../control/host/ways.js';
import { describeProbed, reportProbed } from '../operate/diagnose/describe.js';
import { type Probed, probe, type Target } from '../operate/diagnose/probe.js';
import { plainJson } from '../operate/status/plain.js';
import { listSockets, readStatus, socketPath } from '../operate/status/socket.js';
import { type HostGwStatus, isStarting, type Status } from '../operate/status/status.js';
import type { PeerSeen } from '../operate/status/traffic.js';
import { type Flags, parseFlags, UsageError } from './flags.js';
import { flagsOf } from './manual/command.js';
import { helpOf } from './manual/help.js';
import { PROBE } from './manual/probe.js';
import { complain, printJson, printText } from './print.js';
import { ownFolder, readRunDirectory } from './run-dir.js';

const MOST = 1_000;
/** Where no weft says another. */
const PORT = 8472;

type Ready = Status | HostGwStatus;
type Sender = Pick<Echo, 'send'> & { close?: () => void };

/** A weft that runs here, and how to ask it. */
interface Found {
  readonly status: Ready;
  /** Its socket's. */
  readonly name: string;
  readonly file: string;
}

export async function main(args: string[]): Promise<number> {
  const flags = parseFlags(flagsOf(PROBE), args);
  if (flags.bool('help')) {
    printText(helpOf(PROBE));
    return 0;
  }
  const count = flags.int('count');
  if (count < 1 || count > MOST) throw new UsageError(`-count=${count}: give 1 to ${MOST}`);
  const running = await findRunning(flags);
  if (typeof running === 'number') return running;
  const ip = new Ip(systemRunner, systemClock);
  try {
    const probed = running
      ? await probePeers(ip, running, pick(running.status, flags.rest), count)
      : await probeAddresses(ip, flags.rest, count);
    if (flags.bool('json')) printJson(plainJson(reportProbed(probed)));
    else if (probed.length > 0) printText(describeProbed(probed));
    else printText('no peers yet: there is nothing to probe\n');
    return probed.every(({ verdict }) => verdict.state === 'well') ? 0 : 1;
  } catch (error) {
    if (!(error instanceof HostError)) throw error;
    complain(`weft probe: ${error.message}`);
    return 1;
  } finally {
    await ip.close();
  }
}

/** Undefined: none that can be asked, which was told; a number: an exit code. */
async function findRunning(flags: Flags): Promise<Found | undefined | number> {
  const folder = await ownFolder(readRunDirectory(flags, process.env));
  const names = flags.given('device') ? [flags.text('device')] : listSockets(folder);
  const found: Found[] = [];
  let why = 'no weft runs here';
  for (const name of names) {
    const file = socketPath(name, folder);
    try {
      const status = await readStatus(file);
      if (isStarting(status)) why = `the weft here is starting (${status.waitingFor})`;
      else found.push({ status, name, file });
    } catch (error) {
      const { code } = error as NodeJS.ErrnoException;
      const dead = code === 'ENOENT' || code === 'ECONNREFUSED';
      if (!dead) why = `the weft of ${name} does not answer (${textOf(error)})`;
    }
  }
  if (found.length > 1) {
    const list = found.map(({ name }) => name).join(', ');
    complain(`weft probe: several run on this host; name one with -device: ${list}`);
    return 2;
  }
  if (found.length === 1) return found[0];
  if (flags.rest.length === 0) {
    complain(`weft probe: ${why}, so give the addresses of hosts to probe on the underlay`);
    return 1;
  }
  complain(`weft probe: ${why}: the underlay alone is probed, not the tunnel`);
  return undefined;
}

/** The peers that were named; all where none was. Throws a UsageError for one that is no peer. */
function pick({ peers, lease, underlay }: Ready, names: readonly string[]): Target[] {
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

async function probePeers(
  ip: Ip,
  { status, file }: Found,
  targets: readonly Target[],
  count: number,
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
        ...{ clock: systemClock, underlay: outside, tunnel, seen },
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

/** Without a weft: each from the address that the kernel would take. */
async function probeAddresses(ip: Ip, names: readonly string[], count: number): Promise<Probed[]> {
  for (const name of names) {
    if (parseAddress(name) === null) {
      throw new UsageError(
        `${JSON.stringify(name)} is no IPv4 address, and no weft says whose it is`,
      );
    }
  }
  const probed = names.map(async (publicIp): Promise<Probed[]> => {
    const line = `route get ${publicIp}`;
    const answer = (await ip.queryAll([line])).get(line);
    const row = typeof answer === 'object' ? (answer[0] as { prefsrc?: string; dev?: string }) : {};
    const here = row?.prefsrc ?? '0.0.0.0';
    const underlay = await openSender(here);
    try {
      return await probe(
        [{ publicIp, subnet: undefined, direct: false }],
        { count, port: PORT, mtu: 0, here, underlay: row?.dev ?? '' },
        {
          ...{ clock: systemClock, underlay, tunnel: undefined, seen: async () => undefined },
          ways: (addresses) => findWays(ip, addresses, { source: here, tunnel: '' }),
        },
      );
    } finally {
      underlay.close?.();
    }
  });
  return (await Promise.all(probed)).flat();
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
