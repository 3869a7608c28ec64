/** The start-up probes: what they say where the kernel refuses, and that they leave nothing open. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { LaneMemory } from '../../../src/dataplane/io/memory.js';
import { EINVAL, EIO, loadNative, type Native } from '../../../src/dataplane/io/native.js';
import { probeSegmentation } from '../../../src/dataplane/io/probe.js';
import {
  probeSuperPackets,
  udpSuperPacketsAreSafe,
} from '../../../src/dataplane/io/probe-writes.js';
import * as vnet from '../../../src/dataplane/wire/vnet.js';
import { openDescriptors } from './arena.js';

/** The addon, some of its functions replaced. */
const nativeBut = (more: Partial<Native>): Native => ({ ...loadNative(), ...more });

function segmentationOn(more: Partial<Native>): boolean {
  const memory = new LaneMemory();
  const native = nativeBut(more);
  native.attach(memory.bytes);
  const before = openDescriptors();
  const answer = probeSegmentation(native, memory);
  assert.equal(openDescriptors(), before, 'it closes what it opened');
  return answer;
}

const refuse = (): never => {
  throw new Error('EMFILE');
};

test('UDP_SEGMENT: yes on this kernel, which has had it since 4.18', () => {
  assert.equal(segmentationOn({}), true);
});

test('UDP_SEGMENT: no where the send is refused', () => {
  assert.equal(segmentationOn({ udpSend: () => 0, lastError: () => EIO }), false);
});

test('UDP_SEGMENT: no where something else arrives than two segments', () => {
  const real = loadNative();
  assert.equal(segmentationOn({ udpReceive: () => -11 }), false, 'nothing');
  // The option is taken and does nothing: one datagram of 200 bytes.
  const unsegmented: Native['udpSend'] = (messages, ...more) => {
    memory.words[(messages >> 2) + 2] = 0;
    return real.udpSend(messages, ...more);
  };
  const memory = new LaneMemory();
  real.attach(memory.bytes);
  assert.equal(probeSegmentation(nativeBut({ udpSend: unsegmented }), memory), false);
  // Two, of the wrong sizes.
  const uneven: Native['udpSend'] = (messages, ...more) => {
    memory.words[(messages >> 2) + 2] = 150;
    return real.udpSend(messages, ...more);
  };
  assert.equal(probeSegmentation(nativeBut({ udpSend: uneven }), memory), false);
});

test('UDP_SEGMENT: no where no socket can be had', () => {
  assert.equal(segmentationOn({ udpOpen: refuse }), false);
  assert.equal(segmentationOn({ udpBind: refuse }), false);
  assert.equal(segmentationOn({ udpName: refuse }), false);
});

/** The probe on a TUN that answers each write with an errno; 0 takes it. */
function superPacketsOn(errno: (header: Uint8Array, length: number) => number) {
  let memory: Uint8Array = new Uint8Array(0);
  let last = 0;
  let writes = 0;
  const taken = probeSuperPackets(
    nativeBut({
      attach: (bytes) => {
        memory = bytes;
      },
      tunWrite: (_fd, table, rows, iovecs) => {
        const words = new Int32Array(memory.buffer, 0, memory.length >> 2);
        assert.deepEqual([rows, words[table >> 2], words[(table >> 2) + 1]], [1, 0, 1]);
        const [at, length] = words.subarray(iovecs >> 2) as unknown as [number, number];
        assert.ok(at + length <= memory.length);
        writes += 1;
        last = errno(memory.subarray(at, at + vnet.HEADER), length - vnet.HEADER);
        return last === 0 ? 1 : 0;
      },
      lastError: () => last,
    }),
    9,
  );
  assert.ok(writes >= 2);
  return taken;
}

test('super-packets: the device being down is a yes, EINVAL is a no', () => {
  assert.deepEqual(
    superPacketsOn(() => EIO),
    { tcp: true, udp: true },
  );
  assert.deepEqual(
    superPacketsOn(() => 0),
    { tcp: true, udp: true },
    'somebody set it up',
  );
  assert.deepEqual(
    superPacketsOn(() => EINVAL),
    { tcp: false, udp: false },
  );
  assert.deepEqual(
    superPacketsOn((header) => (vnet.gsoType(header, 0) === vnet.UDP_L4 ? EINVAL : EIO)),
    { tcp: true, udp: false },
  );
});

test('super-packets: a kernel that minds a short last segment is found', () => {
  // As 6.6.42 did it: what is left over of all bytes, headers included, by the segment size.
  const picky = (header: Uint8Array, length: number): number => {
    const needed = vnet.checksumStart(header, 0) + vnet.checksumOffset(header, 0) + 2;
    const left = length % vnet.gsoSize(header, 0);
    return left > needed || left === 0 ? EIO : EINVAL;
  };
  assert.deepEqual(superPacketsOn(picky), { tcp: false, udp: false });
  const tail = (header: Uint8Array, length: number): number =>
    (length - vnet.headerLength(header, 0)) % vnet.gsoSize(header, 0) === 0 ? EIO : EINVAL;
  assert.deepEqual(superPacketsOn(tail), { tcp: false, udp: false });
});

test('UDP super-packets: on no kernel that is known or feared to fail on them', () => {
  for (const release of [
    '6.8.5',
    '6.8.12-3-pve',
    '6.9.0',
    '6.10.11-amd64',
    '6.12.48+deb13-cloud-amd64',
    '6.18.44-fc-v669',
    '6.16',
    '7.1.5',
    '7.2.0-14-generic',
    '10.0.1',
  ]) {
    assert.equal(udpSuperPacketsAreSafe(release), true, release);
  }
  for (const release of [
    '4.18.0-553.el8_10.x86_64',
    '5.15.0-1053-azure',
    '6.1.0-40-amd64',
    '6.2.0',
    '6.6.87.2-microsoft-standard-WSL2',
    '6.8.0-85-generic', // Ubuntu's number stays 6.8.0
    '6.8.4',
    '6.9.0-rc1',
    '7.0.0',
    '7.0.12-1-default',
    '7.1.4',
    '7.1.0-rc5',
    '',
    '6',
    'v6.9.0',
    'Linux',
    '6.x.9',
    '-1.2.3',
  ]) {
    assert.equal(udpSuperPacketsAreSafe(release), false, release);
  }
});
