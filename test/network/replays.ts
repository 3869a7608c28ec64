/**
 * `weft replay` of what tcpdump records beside a running weft tells what that weft did: the same
 * packets in, out and dropped, for the same reasons. On a weft host tcpdump sees trains that
 * UDP_GRO and UDP_SEGMENT made, and super-packets with unfinished checksums. One test file a pair,
 * since each runs in a lab of its own.
 */
import assert from 'node:assert/strict';
import process from 'node:process';
import { after, before, describe, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import type { Container } from '../../src/lab/container.js';
import { enterLab, labLacks } from '../../src/lab/enter.js';
import type { Host } from '../../src/lab/host.js';
import { Lab } from '../../src/lab/lab.js';
import type { Status } from '../../src/operate/status/status.js';
import { largePings, type Overlay, openOverlay, ping, udpSizes, type Vtep } from './overlay.js';

const WEFT = fileURLToPath(new URL('../../src/cli/weft.js', import.meta.url));

/** Frames as a peer that is broken sends them: `node -e SEND address hex…`. */
const SEND = `
  const socket = require('node:dgram').createSocket('udp4');
  const [to, ...frames] = process.argv.slice(1);
  for (const frame of frames) socket.send(Buffer.from(frame, 'hex'), 8472, to);
  setTimeout(() => socket.close(), 100);
`;
/** An inner IPv4 header and some bytes, from nobody to nobody. */
const INNER = `45000024000040004001b6d5c0000201c0000202${'00'.repeat(16)}`;

type Counts = Record<string, number>;
type Direction = 'inbound' | 'outbound';

interface Told {
  readonly records: number;
  readonly droppedBy: Readonly<Counts>;
  readonly notOursBy: Readonly<Counts>;
  readonly lane: Readonly<Counts>;
}

async function statusOf(host: Host): Promise<Status> {
  return JSON.parse(
    (await host.run([process.execPath, WEFT, 'status', '--json'], { mayFail: true })).stdout,
  );
}

/** What a weft counted between two looks: packets and bytes of a direction, and the drops of both. */
function between(one: Status, other: Status, direction: Direction): Counts {
  const [before, behind] = [one, other].map((s): Counts => ({ ...s.counters, ...s.drops }));
  const isOfIt = (name: string) =>
    name in other.drops || (name.startsWith(direction) && /_(packets|bytes)$/.test(name));
  const names = Object.keys(behind!).filter(isOfIt);
  return notZero(names.map((name) => [name, behind![name]! - (before![name] ?? 0)]));
}

/** The same of a replay. */
function toldOf({ lane, droppedBy }: Told, direction: Direction): Counts {
  const counts = Object.entries(lane).filter(([name]) => name.startsWith(direction));
  return notZero([...counts, ...Object.entries(droppedBy)]);
}

function notZero(counts: [string, number][]): Counts {
  return Object.fromEntries(counts.filter(([, count]) => count !== 0).sort());
}

/** Runs tcpdump on a device of the host. */
async function record(
  host: Host,
  device: string,
): Promise<{ file: string; stop(): Promise<void> }> {
  const file = `/run/${device}.pcap`;
  const dump = host.start([
    ...['tcpdump', '-i', device, '-n', '-U', '-B', '65536', '-Z', 'root', '-w', file],
  ]);
  await dump.waitFor(/listening on/, 60_000);
  return {
    file,
    stop: async () => {
      await sleep(500);
      await dump.stop();
      assert.match(dump.output, /\b0 packets dropped by kernel/, 'tcpdump lost packets');
    },
  };
}

async function replay(
  host: Host,
  file: string,
  status: Status,
): Promise<{ told: Told; lines: string[] }> {
  const argv = [process.execPath, WEFT, 'replay', file, '-routes', '-', '-json'];
  const { stdout } = await host.run(argv, { input: JSON.stringify(status), timeout: 60_000 });
  const lines = stdout.trimEnd().split('\n');
  return { told: (JSON.parse(lines.pop()!) as { summary: Told }).summary, lines };
}

async function iperf(from: Container, to: Container, ...flags: string[]): Promise<void> {
  const server = to.start(['iperf3', '-s', '-1', '--forceflush']);
  await server.waitFor(/listening/, 60_000);
  await from.run(['iperf3', '-c', to.address, ...flags], { timeout: 30_000 });
  await server.stop();
}

/** Both ways, large and small, whole and in fragments; and, towards host2, frames that are wrong. */
async function traffic(
  { hosts, containers: [xbox1, xbox2] }: Overlay,
  vtepMac: string,
): Promise<void> {
  await ping(xbox1, xbox2);
  await largePings(xbox1, xbox2);
  await udpSizes(xbox1, xbox2, '0-40,1400-1422,2000,9000,65000');
  await iperf(xbox1, xbox2, '-n', '20M');
  await iperf(xbox1, xbox2, '-n', '20M', '-R');
  await iperf(xbox1, xbox2, '-u', '-b', '50M', '-l', '1200', '-n', '2M');
  const mac = vtepMac.replaceAll(':', '');
  const frame = (vni: string, to: string) => `08000000${vni}00${to}0200000000010800${INNER}`;
  const right = frame('000001', mac);
  const frames = [
    ...[right, right.slice(0, 40), `00${right.slice(2)}`],
    ...[frame('000007', mac), frame('000001', '020000000099')],
  ];
  await hosts[0].run([process.execPath, '-e', SEND, '192.168.56.12', ...frames]);
  await sleep(300);
}

/** Declares the tests of weft beside such a peer; enters the lab first. */
export async function testReplay(peer: Vtep): Promise<void> {
  const lacks = labLacks({ programs: ['etcd', 'tcpdump', 'iperf3'], tun: true });
  if (lacks === undefined && !Lab.inside()) process.exit(await enterLab());

  describe(`replay beside a weft whose peer is ${peer}`, {
    skip: lacks ?? false,
    timeout: 600_000,
  }, () => {
    let overlay: Overlay;
    let host: Host;
    before(async () => {
      overlay = await openOverlay([peer, 'weft'], true);
      host = overlay.hosts[1];
      await ping(...overlay.containers);
    });
    after(() => overlay?.close());

    /** What weft counted while tcpdump recorded, and what replay makes of the recording. */
    const both = async (device: string, direction: Direction) => {
      const recording = await record(host, device);
      const one = await statusOf(host);
      await traffic(overlay, one.lease.vtepMac);
      const other = await statusOf(host);
      await recording.stop();
      const { told, lines } = await replay(host, recording.file, other);
      const counted = between(one, other, direction);
      console.log(`# ${device}: ${told.records} records, ${JSON.stringify(counted)}`);
      return { counted, told, lines };
    };

    test('the underlay: every packet, byte and drop inbound as weft counted them', async () => {
      const { counted, told, lines } = await both('ens33', 'inbound');
      const trains = lines.filter((line) => line.includes('first of a train')).length;
      console.log(`# ${trains} trains`);
      // A kernel peer sends super-packets whole.
      assert.ok(counted.inbound_in_packets! > (peer === 'weft' ? 10_000 : 1_000));
      if (peer === 'weft') assert.ok(trains > 100, `only ${trains} trains`);
      for (const reason of ['foreign_vni', 'foreign_mac', 'truncated', 'no_vni_flag']) {
        assert.ok(counted[reason]! > 0, `${reason} did not occur`);
      }
      // Nothing for us was left to the kernel or to guesses.
      const { not_ipv4: _, not_vxlan: __, other_destination: ___, ...others } = told.notOursBy;
      const of = (reason: string) => lines.find((line) => line.includes(`"${reason}"`));
      assert.deepEqual(Object.keys(others).map(of), []);
      assert.deepEqual(toldOf(told, 'inbound'), counted);
    });

    test('the TUN: every packet and byte outbound as weft counted them', async () => {
      const { counted, told } = await both('flannel.1', 'outbound');
      assert.ok(counted.outbound_in_packets! > 1_000);
      const outbound = (counts: Counts) =>
        notZero(Object.entries(counts).filter(([name]) => name.startsWith('outbound')));
      assert.deepEqual(outbound(toldOf(told, 'outbound')), outbound(counted));
    });
  });
}
