/**
 * Any bytes through every check and, when it says yes, through every reader: nothing throws,
 * and nothing outside of [at, end) is read. The latter shows by putting the same bytes into
 * two surroundings: whoever looks outside gives two different answers.
 */
import assert from 'node:assert/strict';
import test from 'node:test';
import fc from 'fast-check';
import * as ethernet from '../../../src/dataplane/wire/ethernet.js';
import * as icmp from '../../../src/dataplane/wire/icmp.js';
import * as ipv4 from '../../../src/dataplane/wire/ipv4.js';
import * as tcp from '../../../src/dataplane/wire/tcp.js';
import * as udp from '../../../src/dataplane/wire/udp.js';
import * as vnet from '../../../src/dataplane/wire/vnet.js';
import * as vxlan from '../../../src/dataplane/wire/vxlan.js';
import { AT_ETHERNET, AT_IPV4, AT_TRANSPORT, D0, TCP_SYN, UDP_DATAGRAM } from './frames.js';

type Reader = (bytes: Uint8Array, at: number) => number | boolean;

interface Header {
  readonly name: string;
  /** Bytes that pass. */
  readonly sample: Uint8Array;
  /** Whether `check` is content. */
  readonly sound: (bytes: Uint8Array, at: number, end: number) => boolean;
  /** The answer of `check` itself. */
  readonly check: (bytes: Uint8Array, at: number, end: number) => number | boolean;
  readonly readers: readonly Reader[];
}

const passes = (check: (b: Uint8Array, at: number, end: number) => boolean) => ({
  check,
  sound: check,
});

/** For a header without a check of its own: its callers look whether all of it is there. */
const holds =
  (header: number) =>
  (_bytes: Uint8Array, at: number, end: number): boolean =>
    end - at >= header;

const HEADERS: readonly Header[] = [
  {
    name: 'ipv4',
    sample: D0.slice(AT_IPV4),
    check: ipv4.check,
    sound: (bytes, at, end) => ipv4.check(bytes, at, end) === 0,
    readers: [
      ipv4.version,
      ipv4.headerLength,
      ipv4.tos,
      ipv4.totalLength,
      ipv4.id,
      ipv4.fragment,
      ipv4.isFragment,
      ipv4.isLaterFragment,
      ipv4.dontFragment,
      ipv4.protocol,
      ipv4.sum,
      ipv4.source,
      ipv4.destination,
    ],
  },
  {
    name: 'tcp',
    sample: TCP_SYN.slice(AT_TRANSPORT),
    ...passes(tcp.check),
    readers: [
      tcp.sourcePort,
      tcp.destinationPort,
      tcp.sequence,
      tcp.headerLength,
      tcp.flags,
      tcp.sum,
    ],
  },
  {
    name: 'udp',
    sample: UDP_DATAGRAM.slice(AT_TRANSPORT),
    ...passes(udp.check),
    readers: [udp.sourcePort, udp.destinationPort, udp.length, udp.sum],
  },
  {
    name: 'icmp',
    sample: D0.slice(AT_TRANSPORT),
    ...passes(holds(icmp.HEADER)),
    readers: [icmp.type],
  },
  {
    name: 'ethernet',
    sample: D0.slice(AT_ETHERNET),
    ...passes(holds(ethernet.HEADER)),
    readers: [
      ethernet.destinationHigh,
      ethernet.destinationLow,
      ethernet.sourceHigh,
      ethernet.sourceLow,
      ethernet.type,
    ],
  },
  {
    name: 'vxlan',
    sample: D0,
    ...passes(holds(vxlan.HEADER)),
    readers: [vxlan.hasVniFlag, vxlan.vni, vxlan.reservedBitsSet],
  },
  {
    name: 'vnet',
    sample: new Uint8Array(64),
    ...passes(holds(vnet.HEADER)),
    readers: [
      vnet.flags,
      vnet.gsoType,
      vnet.headerLength,
      vnet.gsoSize,
      vnet.checksumStart,
      vnet.checksumOffset,
    ],
  },
];

/** Half of them noise, half of them `sample` with a few bytes changed and cut, so that checks pass, too. */
const anyBytes = (sample: Uint8Array): fc.Arbitrary<Uint8Array> =>
  fc.oneof(
    fc.uint8Array({ maxLength: 80 }),
    fc
      .tuple(
        fc.array(fc.tuple(fc.nat(sample.length - 1), fc.nat(255)), { maxLength: 2 }),
        fc.nat(sample.length),
      )
      .map(([edits, cut]) => {
        const bytes = sample.slice();
        for (const [at, byte] of edits) bytes[at] = byte;
        return bytes.subarray(0, bytes.length - (cut >> 2));
      }),
  );

/** The bytes at `at` in a buffer that is otherwise full of `filling`. */
function surrounded(bytes: Uint8Array, at: number, filling: number): Uint8Array {
  const all = new Uint8Array(at + bytes.length + 70).fill(filling);
  all.set(bytes, at);
  return all;
}

for (const header of HEADERS) {
  test(`${header.name}: any bytes`, () => {
    let sound = 0;
    fc.assert(
      fc.property(anyBytes(header.sample), fc.nat(5), (bytes, at) => {
        const end = at + bytes.length;
        const zeros = surrounded(bytes, at, 0x00);
        const ones = surrounded(bytes, at, 0xff);
        assert.equal(header.check(zeros, at, end), header.check(ones, at, end));
        if (!header.sound(zeros, at, end)) return;
        sound += 1;
        for (const reader of header.readers) {
          const value = reader(zeros, at);
          assert.equal(value, reader(ones, at), reader.name);
          assert.ok(typeof value === 'boolean' || Number.isSafeInteger(value), reader.name);
        }
      }),
      { numRuns: 500 },
    );
    assert.ok(sound > 0, 'no input passed the check');
  });
}
