/** What the demo tries on the finished stage; each check throws when it does not find what it should. */
import { WEFT } from '../../lab/host.js';
import { TRANSFER, type Transferred } from '../../lab/transfer.js';
import type { Status } from '../../operate/status/status.js';
import { type Screen, Unexpected } from './screen.js';
import { type Box, type Stage, subnetOf } from './stage.js';

/** What the summary tells of the checks. */
export interface Findings {
  pairs?: number;
  /** Bytes of the largest packet that passed without being fragmented. */
  largest?: number;
  transferred?: Transferred;
  /** The address by which the world outside sees host1's containers. */
  outside?: string;
  /** Gbit/s, by direction. */
  throughput?: { direction: string; gigabits: number; retransmissions: number }[];
}

const TRANSFER_BYTES = 64 << 20;
const IPERF_SECONDS = 3;

/** Every container reaches every container of the other host. */
export async function ping(stage: Stage, screen: Screen, findings: Findings): Promise<void> {
  const [here, there] = [stage.containers.slice(0, 2), stage.containers.slice(2)];
  const pairs = here.flatMap((a) =>
    there.flatMap((b) => [
      [a, b],
      [b, a],
    ]),
  ) as [Box, Box][];
  for (const [from, to] of pairs) {
    const argv = ['ping', '-n', '-c', '3', '-i', '0.2', '-W', '2', to.address];
    const { stdout, stderr } = await from.run(argv, { mayFail: true });
    const sent = /3 packets transmitted, 3 (packets )?received/.test(stdout);
    const times = /= [\d.]+\/([\d.]+)\//.exec(stdout);
    if (!sent || times === null) {
      throw new Unexpected(`3 answers of 3 from ${to.name} to ${from.name}`, stdout + stderr);
    }
    screen.note(`${from.name} -> ${to.name}  ${to.address}  3 of 3 answered, ${times[1]} ms`);
  }
  findings.pairs = pairs.length;
}

/** A packet of exactly the overlay's MTU passes whole. */
export async function largest(stage: Stage, screen: Screen, findings: Findings): Promise<void> {
  const [from, to] = [stage.containers[0]!, stage.containers[2]!];
  const { mtu } = stage.hosts[0]!.subnetFile()!;
  const payload = String(mtu - 28); // without the headers of IPv4 and ICMP
  const argv = ['ping', '-n', '-c', '1', '-W', '2', '-M', 'do', '-s', payload, to.address];
  const { code, stdout, stderr } = await from.run(argv, { mayFail: true });
  if (code !== 0) {
    throw new Unexpected(`an answer to a packet of ${mtu} bytes`, stdout + stderr);
  }
  screen.note(`${from.name} -> ${to.name}  ${mtu} bytes pass whole, as FLANNEL_MTU says`);
  findings.largest = mtu;
}

/** The way from a container to another: the bridge, the other host, the container. */
export async function traceroute(stage: Stage, screen: Screen): Promise<void> {
  const [from, to] = [stage.containers[0]!, stage.containers[2]!];
  const other = subnetOf(stage.hosts[1]!).split('/')[0]!;
  await followWay(screen, from, to.address, [from.gateway, other, to.address]);
  screen.note(`that is docker0 on host1, flannel.1 on host2, ${to.name}`);
}

/** The hops of a traceroute in a container; throws when they are not the expected ones. */
export async function followWay(
  screen: Screen,
  from: Box,
  to: string,
  expected: readonly string[],
): Promise<void> {
  const argv = ['traceroute', '-n', '-q', '1', '-w', '2', '-m', '6', to];
  const { stdout, stderr } = await from.run(argv, { mayFail: true });
  screen.note(stdout);
  const hops = [...stdout.matchAll(/^ *\d+ +(\S+)/gm)].map((match) => match[1]!);
  if (hops.join() !== expected.join()) {
    throw new Unexpected(`the hops ${expected.join(', ')}`, hops.join(', ') || stderr);
  }
}

/** Random bytes over one TCP connection, and what either side saw of them. */
export async function transfer(stage: Stage, screen: Screen, findings: Findings): Promise<void> {
  const [from, to] = [stage.containers[1]!, stage.containers[3]!];
  const receiver = to.start([process.execPath, TRANSFER, 'receive', '9000']);
  await receiver.waitFor(/listening/, 5_000);
  const argv = [process.execPath, TRANSFER, 'send', to.address, '9000', String(TRANSFER_BYTES)];
  const sent = JSON.parse((await from.run(argv)).stdout) as Transferred;
  const line = (await receiver.waitFor(/^\{.*\}$/m, 10_000))[0];
  const received = JSON.parse(line) as Transferred;
  screen.note(`${from.name} sent      ${sent.bytes} bytes, SHA-256 ${sent.sha256}`);
  screen.note(`${to.name} received  ${received.bytes} bytes, SHA-256 ${received.sha256}`);
  if (sent.bytes !== received.bytes || sent.sha256 !== received.sha256) {
    throw new Unexpected('the same bytes on both sides', 'different ones; see above');
  }
  findings.transferred = received;
}

/** One TCP connection as fast as it goes, each way, between containers of the two hosts. */
export async function throughput(
  [from, to]: readonly [Box, Box],
  screen: Screen,
  findings: Findings,
): Promise<void> {
  findings.throughput = [];
  for (const [direction, flags] of [
    ['host1 -> host2', []],
    ['host2 -> host1', ['-R']],
  ] as const) {
    const server = to.start(['iperf3', '-s', '-1', '--forceflush']);
    await server.waitFor(/Server listening/, 5_000);
    const argv = ['iperf3', '-J', '-t', String(IPERF_SECONDS), '-c', to.address, ...flags];
    const { stdout, stderr } = await from.run(argv, { mayFail: true });
    await server.stop();
    const { gigabits, retransmissions } = readIperf(stdout, stderr);
    findings.throughput.push({ direction, gigabits, retransmissions });
    screen.note(`${direction}  ${gigabits.toFixed(2)} Gbit/s, ${retransmissions} retransmissions`);
  }
}

function readIperf(stdout: string, stderr: string): { gigabits: number; retransmissions: number } {
  const wanted = 'a report of iperf3 with data received';
  try {
    const { end, error } = JSON.parse(stdout);
    if (error !== undefined) throw new Unexpected(wanted, String(error));
    const gigabits = end.sum_received.bits_per_second / 1e9;
    if (!(gigabits > 0)) throw new Unexpected(wanted, `${gigabits} Gbit/s`);
    return { gigabits, retransmissions: end.sum_sent.retransmits };
  } catch (error) {
    if (error instanceof Unexpected) throw error;
    throw new Unexpected(wanted, stdout.slice(0, 500) + stderr);
  }
}

/** What weft says of itself: all those packets went through it, and it knows its peer. */
export async function status(stage: Stage, screen: Screen): Promise<void> {
  const [host1] = stage.hosts;
  const weft = [process.execPath, WEFT, 'status'];
  screen.note((await host1!.run(weft)).stdout);
  for (const host of stage.hosts) {
    const told = JSON.parse((await host.run([...weft, '--json'])).stdout) as Status;
    const { counters, peers } = told;
    const least = TRANSFER_BYTES;
    const through = counters.outbound_out_bytes + counters.inbound_out_bytes;
    if (peers.length !== 1 || through < least) {
      throw new Unexpected(
        `one peer, and at least ${least} bytes through weft on ${host.name}`,
        `${peers.length} peers, ${through} bytes`,
      );
    }
  }
}
