/** What `weft capture` has written, `weft replay` takes: the same packets come out, byte by byte. */
import assert from 'node:assert/strict';
import process from 'node:process';
import { after, before, describe, test } from 'node:test';
import { gsoSize } from '../../src/dataplane/wire/vnet.js';
import { enterLab, labLacks } from '../../src/lab/enter.js';
import { type Host, WEFT } from '../../src/lab/host.js';
import { Lab } from '../../src/lab/lab.js';
import { finished, offloadOf } from '../../src/operate/capture/offload.js';
import { openCapture } from '../../src/operate/capture/open.js';
import { segment } from '../dataplane/forward/oracle.js';
import { startCapture, stopCapture } from './capture.js';
import {
  type Overlay,
  openOverlay,
  ping,
  tcpTransfer,
  udpSizes,
  udpSuperPacket,
} from './overlay.js';
import { statusOf } from './spoil.js';

const lacks = labLacks({ programs: ['ping', 'etcd'], tun: true });
if (lacks === undefined && !Lab.inside()) process.exit(await enterLab());

const US = Buffer.of(192, 168, 56, 12).toString('hex');
/** Outer IPv4 and UDP headers. */
const OUTER = 28;

describe('capture and replay', { skip: lacks ?? false, timeout: 600_000 }, () => {
  let overlay: Overlay;
  let host: Host;
  before(async () => {
    overlay = await openOverlay(['weft', 'weft'], true);
    host = overlay.hosts[1];
    await ping(...overlay.containers);
  });
  after(() => overlay?.close());

  /** One direction, inner and outer. */
  async function record(direction: 'in' | 'out'): Promise<string> {
    const file = `/run/${direction}.pcapng`;
    const capture = await startCapture(host, '-w', file, '-rate', '0', '-direction', direction);
    const ends = [overlay.containers[0], overlay.containers[1]] as const;
    const [from, to] = direction === 'in' ? ends : ([ends[1], ends[0]] as const);
    await ping(from, to);
    await tcpTransfer(from, to, 800_000);
    await udpSizes(from, to, '0-20,1400-1422,3000');
    await udpSuperPacket(from, to);
    assert.equal(await stopCapture(capture), 0, capture.output);
    assert.match(capture.output, / 0 not captured/);
    return file;
  }

  async function replay(file: string): Promise<Buffer[]> {
    const out = `${file}.out`;
    const argv = [process.execPath, WEFT, 'replay', file, '-routes', '-', '-o', out];
    await host.run(argv, { input: JSON.stringify(await statusOf(host)), timeout: 60_000 });
    return read(host.path(out));
  }

  test('inbound: the outer packets give the inner ones that the host was given', async () => {
    const file = await record('in');
    const [outer, inner] = split(read(host.path(file)));
    assert.ok(outer.length > 500);
    const delivered = inner.flatMap(cut).map(hex);
    const replayed = (await replay(file)).map((packet) => hex(finished(packet)));
    assert.ok(inner.length < delivered.length, 'something was merged');
    assert.deepEqual(replayed, delivered);
  });

  test('outbound: the inner packets give the payloads that were sent', async () => {
    const file = await record('out');
    const [outer, inner] = split(read(host.path(file)));
    assert.ok(inner.length < outer.length, 'there were super-packets');
    const sent = outer.map((packet) => hex(packet.subarray(OUTER)));
    const replayed = (await replay(file)).map((packet) => hex(packet.subarray(OUTER)));
    assert.deepEqual(replayed, sent);
  });
});

function read(file: string): Buffer[] {
  const capture = openCapture(file);
  const packets = [...capture.records()].map(({ bytes }) => bytes);
  capture.close();
  return packets;
}

/** Outer packets, from or to our address on the underlay; and inner ones. */
function split(packets: readonly Buffer[]): [Buffer[], Buffer[]] {
  const isOuter = (packet: Buffer) =>
    [packet.subarray(12, 16), packet.subarray(16, 20)].some((one) => hex(one) === US);
  return [packets.filter(isOuter), packets.filter((packet) => !isOuter(packet))];
}

/** What a packet written to the TUN becomes. */
function cut(packet: Buffer): Uint8Array[] {
  const total = packet.readUInt16BE(2);
  const offload = offloadOf(packet.subarray(total));
  const whole = packet.subarray(0, total);
  const pieces = offload === undefined ? [whole] : segment(whole, gsoSize(offload, 0));
  return pieces.map((piece) => finished(piece));
}

function hex(bytes: Uint8Array): string {
  return Buffer.from(bytes).toString('hex');
}
