/** Inbound: random streams of segments; what a receiver behind the TUN sees is what came in. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { finished, isPartial, receive, withoutId } from './oracle.js';
import {
  ACK,
  CWR,
  ECE,
  FIN,
  frame,
  ihl,
  leavePartial,
  PEER_B,
  PSH,
  RST,
  SYN,
  type TcpFields,
  tcpPacket,
  transportSumIsRight,
  URG,
} from './packets.js';
import { Random } from './random.js';
import { Rig } from './rig.js';

/** Timestamps as Linux sends them, and later ones. */
const STAMP = Uint8Array.from([1, 1, 8, 10, 0, 0, 1, 2, 0, 0, 3, 4]);
const otherStamp = Uint8Array.from([1, 1, 8, 10, 0, 0, 1, 2, 0, 0, 3, 5]);

/** A stream of one flow's segments, now and then with something that is not as before. */
class Flow {
  readonly #random: Random;
  #fields: TcpFields;
  #sequence: number;
  #id = 0;
  readonly #size: number;

  constructor(random: Random, port: number) {
    this.#random = random;
    this.#fields = { sourcePort: port, fragment: random.pick([0, 0x4000]), options: STAMP };
    this.#sequence = random.pick([1, 2 ** 31 - 3000, 2 ** 32 - 3000]);
    this.#size = random.pick([1, 100, 536, 1398]);
  }

  next(): Uint8Array {
    const random = this.#random;
    if (random.chance(10)) this.#change();
    let size = this.#size;
    if (random.chance(12)) size = random.between(0, size);
    if (random.chance(40)) size = Math.min(1398, size + 1);
    if (random.chance(25)) this.#sequence += random.pick([-size, -1, 1, size]);
    if (random.chance(25)) this.#id += random.pick([-1, 1, 7]);
    const flags = random.chance(8)
      ? random.pick([
          ACK | PSH,
          ACK | FIN,
          ACK | SYN,
          ACK | RST,
          ACK | URG,
          ACK | CWR,
          ACK | ECE,
          0,
        ])
      : ACK;
    const packet = tcpPacket({
      flags,
      ...this.#fields,
      sequence: ((this.#sequence % 2 ** 32) + 2 ** 32) % 2 ** 32,
      id: this.#id & 0xffff,
      payload: random.bytes(size),
    });
    this.#sequence += size;
    this.#id += 1;
    if (random.chance(4)) return leavePartial(packet);
    if (random.chance(15)) {
      packet[random.between(ihl(packet) + 20, packet.length - 1)]! ^= 1 << random.between(0, 7);
      if (isPartial(packet)) return this.next();
    }
    return packet;
  }

  #change(): void {
    const random = this.#random;
    const changes: readonly TcpFields[] = [
      { ttl: random.between(60, 62) },
      { tos: random.between(0, 3) },
      { fragment: random.pick([0, 0x4000]) },
      { options: random.pick([STAMP, otherStamp, new Uint8Array(0), STAMP.slice(0, 4)]) },
      { acknowledgement: random.between(1, 3) },
      { window: random.between(500, 502) },
      { urgent: random.between(0, 1) },
      { ipOptions: random.pick([new Uint8Array(0), Uint8Array.from([1, 1, 1, 0])]) },
    ];
    this.#fields = { ...this.#fields, ...random.pick(changes) };
  }
}

test('whatever streams come in, a receiver sees the same packets in the same order', (t) => {
  const any = new Random();
  t.diagnostic(`WEFT_SEED=${any.seed}`);
  const rig = new Rig({ mtu: 1500 });
  let merged = 0;
  for (let round = 0; round < 60; round += 1) {
    const flows = Array.from({ length: any.between(1, 4) }, (_, i) => new Flow(any, 1000 + i));
    const packets: Uint8Array[] = [];
    let flow = flows[0]!;
    for (let i = 0; i < 200; i += 1) {
      if (any.chance(6)) flow = any.pick(flows);
      packets.push(flow.next());
    }
    for (const packet of packets) rig.underlay.push({ payload: frame(packet), address: PEER_B });
    rig.run();
    const written = rig.takeWritten();
    merged += packets.length - written.length;
    assert.deepEqual(
      written.flatMap(receive).map(withoutId),
      packets.map(finished).map(withoutId),
      `WEFT_SEED=${any.seed}, round ${round}`,
    );
    for (const { vnet, packet } of written) {
      if (vnet[1] === 0) continue;
      assert.ok(receive({ vnet, packet }).every(transportSumIsRight));
    }
    rig.checkBalance();
  }
  assert.deepEqual(rig.drops(), {});
  assert.ok(merged > 1000, `only ${merged} of 12000 packets were merged`);
});
