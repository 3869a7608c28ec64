import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import {
  type CaptureFilter,
  Filter,
  wordsOf,
} from '../../../../src/dataplane/forward/tap/filter.js';
import { CaptureRing } from '../../../../src/dataplane/forward/tap/ring.js';
import { LAYOUT, LaneMemory } from '../../../../src/dataplane/io/memory.js';
import {
  get16,
  get32,
  ihl,
  ip,
  ipv4Packet,
  PEER_B,
  PEER_C,
  tcpPacket,
  udpPacket,
} from '../packets.js';
import { Random } from '../random.js';
import { ALL } from './shown.js';

const memory = new LaneMemory();
const AT = LAYOUT.outbound;

function takes(filter: Partial<CaptureFilter>, packet: Uint8Array, peer = PEER_B): boolean {
  new CaptureRing(memory.memory).want(wordsOf({ ...ALL, ...filter }, 0));
  const read = new Filter(memory.bytes, memory.words);
  read.read();
  memory.bytes.set(packet, AT);
  return read.takes(AT, AT + packet.length, peer);
}

/** The same, the slow and obvious way. */
function expected(filter: Partial<CaptureFilter>, packet: Uint8Array, peer: number): boolean {
  const { network, protocol, port } = filter;
  if (filter.peer !== undefined && filter.peer !== peer) return false;
  if (network === undefined && protocol === undefined && port === undefined) return true;
  if (packet.length < 20 || packet[0]! >> 4 !== 4) return false;
  const bits = (address: number) => (address >>> 0).toString(2).padStart(32, '0');
  const isIn = (address: number) =>
    network === undefined ||
    bits(address).slice(0, network.length) === bits(network.address).slice(0, network.length);
  if (!isIn(get32(packet, 12)) && !isIn(get32(packet, 16))) return false;
  if (protocol !== undefined && packet[9] !== protocol) return false;
  if (port === undefined) return true;
  if (packet[9] !== 6 && packet[9] !== 17) return false;
  if ((get16(packet, 6) & 0x1fff) !== 0 || packet.length < ihl(packet) + 4) return false;
  return [get16(packet, ihl(packet)), get16(packet, ihl(packet) + 2)].includes(port);
}

describe('capture filter', () => {
  it('takes what it should, of any packets', () => {
    const random = new Random();
    const addresses = ['10.5.72.9', '10.5.72.10', '10.5.90.4', '192.0.2.1', '0.0.0.0'];
    const ports = [80, 443, 0, 65_535];
    let taken = 0;
    for (let i = 0; i < 5000; i += 1) {
      const ends = { source: random.pick(addresses), destination: random.pick(addresses) };
      const both = { sourcePort: random.pick(ports), destinationPort: random.pick(ports) };
      const fragment = random.pick([0, 0, 0x4000, 0x2000, 0x2003]);
      const ipOptions = new Uint8Array(random.pick([0, 0, 8]));
      const whole = random.pick([
        tcpPacket({ ...ends, ...both, fragment, ipOptions }),
        udpPacket({ ...ends, ...both, fragment, ipOptions }),
        ipv4Packet({ ...ends, protocol: random.pick([1, 47]) }, new Uint8Array(8)),
        random.bytes(random.between(0, 40)),
      ]);
      const packet = random.chance(8) ? whole.subarray(0, random.between(0, whole.length)) : whole;
      const peer = random.pick([PEER_B, PEER_C, 0]);
      const maybe = <T>(value: T) => (random.chance(3) ? value : undefined);
      const filter = {
        peer: maybe(random.pick([PEER_B, PEER_C])),
        network: maybe({
          address: ip(random.pick(addresses)),
          length: random.pick([32, 31, 24, 8, 1, 0]),
        }),
        protocol: maybe(random.pick([6, 17, 1])),
        port: maybe(random.pick(ports)),
      };
      const wanted = expected(filter, packet, peer);
      const told = `seed ${random.seed}: ${JSON.stringify(filter)}, ${Buffer.from(packet).toString('hex')}`;
      // Everything lies in 0.0.0.0/0; what is no IPv4 packet, too, then.
      if (filter.network?.length === 0) continue;
      assert.equal(takes(filter, packet, peer), wanted, told);
      if (wanted) taken += 1;
    }
    assert.ok(taken > 500);
  });
});
