/** `weft capture` on a weft beside a kernel VXLAN peer and a stranger: what tshark is told. */
import assert from 'node:assert/strict';
import process from 'node:process';
import { after, before, describe, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { enterLab, labLacks } from '../../src/lab/enter.js';
import { type Host, WEFT } from '../../src/lab/host.js';
import { Lab } from '../../src/lab/lab.js';
import { frame, udpPacket } from '../dataplane/forward/packets.js';
import { startCapture, stopCapture, tshark } from './capture.js';
import { type Overlay, openOverlay, ping, tcpTransfer } from './overlay.js';
import { statusOf } from './spoil.js';

const lacks = labLacks({ programs: ['ping', 'etcd', 'tshark'], tun: true });
if (lacks === undefined && !Lab.inside()) process.exit(await enterLab());

const US = '192.168.56.11';
const PEER = '192.168.56.12';
const STRANGER = '192.168.56.66';
const FILE = '/run/capture.pcapng';

/** `node -e SEND address hex…`: each as a datagram to VTEPs. */
const SEND = `
  const socket = require('node:dgram').createSocket('udp4');
  const [to, ...frames] = process.argv.slice(1);
  for (const frame of frames) socket.send(Buffer.from(frame, 'hex'), 8472, to);
  setTimeout(() => socket.close(), 100);
`;

describe('weft capture', { skip: lacks ?? false, timeout: 600_000 }, () => {
  let overlay: Overlay;
  let host: Host;
  let stranger: Host;
  /** Our VTEP's MAC address, and an inner packet for our container. */
  let mac: number[];
  let packet: Uint8Array;
  before(async () => {
    overlay = await openOverlay(['weft', 'kernel'], true);
    [host] = overlay.hosts;
    const network = overlay.lab.networks[0]!;
    stranger = await network.host('stranger', { address: `${STRANGER}/24` });
    const status = await statusOf(host);
    mac = status.lease.vtepMac.split(':').map((part) => Number.parseInt(part, 16));
    const [to, from] = overlay.containers.map(({ address }) => address);
    packet = udpPacket({ source: from!, destination: to!, payload: new Uint8Array(30) });
    await ping(...overlay.containers);
  });
  after(() => overlay?.close());

  const send = (from: Host, ...frames: Uint8Array[]) =>
    from.run([
      ...[process.execPath, '-e', SEND, US],
      ...frames.map((one) => Buffer.from(one).toString('hex')),
    ]);

  test('ping and TCP: inner and outer, both ways, with peer and verdict', async () => {
    const capture = await startCapture(host, '-w', FILE);
    await ping(...overlay.containers);
    await tcpTransfer(...overlay.containers, 1_000_000);
    assert.equal(await stopCapture(capture), 0, capture.output);
    assert.match(capture.output, /\d+ packets captured, 0 not captured/);
    const seen = await tshark(host, FILE, 'icmp');
    const told = (name: string) =>
      seen.filter((one) => one.interface === name).map(({ comment }) => comment);
    const pings = [`out to ${PEER}: sent`, `in from ${PEER}: delivered`];
    assert.deepEqual(told('flannel.1'), [...pings, ...pings, ...pings]);
    assert.deepEqual([...new Set(told('flannel.1 underlay'))].sort(), [
      `in from ${PEER}: received`,
      `out to ${PEER}: sent`,
    ]);
    const outer = await tshark(host, FILE, 'vxlan && tcp');
    assert.ok(outer.length > 100, `${outer.length} outer packets`);
    for (const one of outer) {
      const way = one.comment.startsWith('out') ? [US, PEER] : [PEER, US];
      assert.deepEqual([one.sources[0], one.destinations[0]], way);
      assert.doesNotMatch(one.sums, /0/, `an outer sum is wrong: ${JSON.stringify(one)}`);
    }
    const supers = (await tshark(host, FILE, 'tcp && !vxlan')).map(({ comment }) => comment);
    assert.ok(
      supers.some((one) => /^out to .*: sent; super-packet: \d+ segments of \d+ bytes$/.test(one)),
    );
  });

  test('a dropped packet says why, on whichever side it is seen', async () => {
    const capture = await startCapture(host, '-w', FILE, '-reason', 'any');
    await ping(...overlay.containers);
    await send(stranger, frame(packet, { to: mac }));
    await send(overlay.hosts[1], frame(packet, { to: mac, vni: 7 }));
    await send(overlay.hosts[1], frame(packet, { to: [2, 0, 0, 0, 0, 0x99] }));
    // weft takes the route away again.
    const lost = 'ip route add 10.10.250.0/24 dev flannel.1 && ping -c 1 -W 1 10.10.250.1';
    await host.run(['sh', '-c', lost], { mayFail: true });
    assert.equal(await stopCapture(capture), 0, capture.output);
    const seen = await tshark(host, FILE);
    const told = (name: string) =>
      seen.filter((one) => one.interface === name).map(({ comment }) => comment);
    const inbound = [
      `in from ${STRANGER}, which is no peer: dropped unknown_sender`,
      `in from ${PEER}: dropped foreign_vni`,
      `in from ${PEER}: dropped foreign_mac`,
    ];
    assert.deepEqual(told('flannel.1 underlay'), inbound);
    assert.deepEqual(told('flannel.1'), [...inbound, 'out: dropped outbound_no_route']);
  });

  test('filters: peer, protocol, one reason, snap length, count', async () => {
    const capture = await startCapture(
      host,
      '-w',
      FILE,
      '-what',
      'inner',
      '-proto',
      'icmp',
      '-count',
      '4',
      '-snap',
      '40',
      '-peer',
      PEER,
    );
    await tcpTransfer(...overlay.containers, 100_000);
    await ping(...overlay.containers);
    assert.equal(await capture.exited, 0, capture.output);
    assert.match(capture.output, /: 4 packets captured/);
    const seen = await tshark(host, FILE);
    assert.deepEqual(
      seen.map((one) => [one.interface, one.length, one.captured]),
      Array(4).fill(['flannel.1', 84, 40]),
    );

    const one = await startCapture(host, '-w', FILE, '-reason', 'foreign_vni', '-what', 'outer');
    await send(stranger, frame(packet, { to: mac }));
    await send(overlay.hosts[1], frame(packet, { to: mac, vni: 7 }));
    await stopCapture(one);
    assert.deepEqual(
      (await tshark(host, FILE)).map(({ comment }) => comment),
      [`in from ${PEER}: dropped foreign_vni`],
    );
  });

  test('on a pipe, as Wireshark reads it, packet by packet', async () => {
    const command = `${process.execPath} ${WEFT} capture -what inner -count 6 | tshark -n -l -r - -T fields -e frame.comment`;
    const both = host.start(['bash', '-c', command]);
    await both.waitFor(/capturing on/, 60_000);
    await ping(...overlay.containers);
    assert.equal(await both.exited, 0, both.output);
    assert.equal(both.output.match(/: (sent|delivered)$/gm)?.length, 6, both.output);
  });

  test('as lines, with what became of each packet', async () => {
    const capture = await startCapture(host, '-text', '-what', 'inner');
    await ping(...overlay.containers);
    await stopCapture(capture);
    const [a, b] = overlay.containers.map(({ address }) => address);
    const line = `\\d\\d:\\d\\d:\\d\\d\\.\\d{6} inner ICMP ${a} > ${b} .*84 bytes: out to ${PEER}: sent`;
    assert.match(capture.output, new RegExp(line));
  });

  test('a reader who takes nothing costs packets of the capture, and no traffic', async () => {
    const command = `exec ${process.execPath} ${WEFT} capture -rate 0 -w - > >(exec sleep 60 > /dev/null 2>&1)`;
    const capture = host.start(['bash', '-c', command]);
    await capture.waitFor(/capturing on/, 60_000);
    await tcpTransfer(...overlay.containers, 100_000_000);
    const { drops } = await statusOf(host);
    await capture.waitFor(/what takes the packets does not keep up/, 60_000);
    capture.kill('SIGINT');
    const begun = Date.now();
    assert.equal(await capture.exited, 1, capture.output);
    assert.ok(Date.now() - begun < 6_000, 'the end did not wait for the reader');
    assert.match(capture.output, /captured, [1-9]\d* not captured/);
    assert.match(capture.output, /what reads the output takes nothing/);
    assert.deepEqual(drops.send_peer_full, undefined);
    await ping(...overlay.containers);
  });

  test('the second one is told of the first; after a SIGKILL of that one it can', async () => {
    const first = await startCapture(host, '-w', FILE);
    const again = [process.execPath, WEFT, 'capture', '-w', '/run/again.pcapng', '-count', '2'];
    const second = await host.run(again, { mayFail: true });
    assert.equal(second.code, 1);
    assert.match(
      second.stderr,
      /process \d+ captures on flannel\.1 already, and one can at a time/,
    );
    first.kill('SIGKILL');
    await first.exited;
    await overlay.wefts[0]!.waitFor(/captures no more packets/, 60_000);
    const third = await startCapture(host, ...again.slice(3));
    await ping(...overlay.containers);
    assert.equal(await third.exited, 0, third.output);
  });

  test('a ring: the last files stay, each one whole', async () => {
    const flags = [
      '-w',
      '/run/ring.pcapng',
      '-ring',
      '2',
      '-size',
      '1',
      '-what',
      'inner',
      '-rate',
      '0',
    ];
    const capture = await startCapture(host, ...flags);
    for (let i = 0; i < 5; i += 1) {
      await tcpTransfer(...overlay.containers, 600_000);
      await sleep(100);
    }
    assert.equal(await stopCapture(capture), 0, capture.output);
    const { stdout } = await host.run(['sh', '-c', 'ls /run/ring*']);
    const files = stdout.trim().split('\n');
    assert.equal(files.length, 2, stdout);
    assert.doesNotMatch(stdout, /ring_00001/);
    for (const file of files) assert.ok((await tshark(host, file)).length > 0);
    const counts = await host.run(['capinfos', '-M', '-c', ...files]);
    assert.match(counts.stdout, /Number of packets/);
  });

  test('only root may ask; nobody is told of a socket that is none', async () => {
    const mode = await host.run(['stat', '-c', '%a %U', '/run/weft/flannel.1.capture']);
    assert.equal(mode.stdout.trim(), '600 root');
    const none = await host.run([process.execPath, WEFT, 'capture', '-device', 'flannel.9'], {
      mayFail: true,
    });
    assert.equal(none.code, 1);
    assert.match(none.stderr, /no weft runs for the device "flannel\.9"; there are: flannel\.1/);
  });

  test('a file that cannot be written ends it at once, and nobody is left who captures', async () => {
    const file = '/run/missing/x.pcapng';
    for (const ring of [[], ['-ring=2']]) {
      const argv = [process.execPath, WEFT, 'capture', '-w', file, ...ring];
      const { code, stderr } = await host.run(argv, { mayFail: true });
      assert.equal(code, 1, stderr);
      assert.match(stderr, /missing\/x\S* cannot be written: ENOENT/);
      assert.doesNotMatch(stderr, /has just ended/);
    }
    await stopCapture(await startCapture(host, '-w', FILE));
  });

  test('a weft that ends gives what it has, and the capture says so', async () => {
    const capture = await startCapture(host, '-w', FILE);
    await ping(...overlay.containers);
    await sleep(100);
    assert.equal(await overlay.wefts[0]!.stop(), 0);
    assert.equal(await capture.exited, 1);
    assert.match(capture.output, /the weft that runs has ended/);
    assert.ok((await tshark(host, FILE, 'icmp')).length >= 12);
    const left = await host.run(['ls', '/run/weft']);
    assert.doesNotMatch(left.stdout, /capture/);
  });
});
