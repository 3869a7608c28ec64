/** A lane without a thread that shows its packets, and what it has shown. */
import assert from 'node:assert/strict';
import { DROP_NAMES } from '../../../../src/dataplane/forward/drops.js';
import { type CaptureFilter, wordsOf } from '../../../../src/dataplane/forward/tap/filter.js';
import { CaptureRing, type Missed } from '../../../../src/dataplane/forward/tap/ring.js';
import { type LiveRecord, LiveRecords } from '../../../../src/operate/capture/live-records.js';
import {
  concat,
  frame,
  leavePartial,
  PEER_B,
  PEER_C,
  STRANGER,
  tcpPacket,
  udpPacket,
} from '../packets.js';
import { offloadOf, TO_B, TO_C } from '../push.js';
import type { Random } from '../random.js';
import type { Rig } from '../rig.js';

export const OWN_PORT = 50_123;
export const TIME = 1_700_000_000_123.25;

export const ALL: CaptureFilter = {
  inner: true,
  outer: true,
  inbound: true,
  outbound: true,
  dropsOnly: false,
  snap: 65_535,
  limited: false,
};

export class Shown {
  readonly ring: CaptureRing;
  missed: Missed = { inner: 0, outer: 0 };

  constructor(rig: Rig, filter: Partial<CaptureFilter> = {}) {
    this.ring = new CaptureRing(rig.memory.memory);
    this.ring.want(wordsOf({ ...ALL, ...filter }, OWN_PORT));
    rig.lane.show(() => TIME);
  }

  take(): LiveRecord[] {
    const taken: LiveRecord[] = [];
    const records = new LiveRecords({
      packet: (record) => taken.push(record),
      missed: () => assert.fail('the lane itself tells nothing'),
    });
    records.take(this.ring.read());
    this.missed = this.ring.missed;
    return taken;
  }
}

/** How many pieces were dropped for each reason. */
export function lostOf(records: readonly LiveRecord[]): Record<string, number> {
  const lost: Record<string, number> = {};
  for (const record of records) {
    if (record.reason === 0) assert.equal(record.lost, 0);
    else lost[DROP_NAMES[record.reason]!] = (lost[DROP_NAMES[record.reason]!] ?? 0) + record.lost;
  }
  return lost;
}

/** Puts a batch of all kinds of packets into both sides of a lane, right and wrong ones. */
export function pushTraffic(rig: Rig, random: Random): void {
  for (let left = random.between(0, 40); left > 0; left -= 1) pushOutbound(rig, random);
  for (let left = random.between(0, 40); left > 0; left -= 1) pushInbound(rig, random);
}

function pushOutbound(rig: Rig, random: Random): void {
  const to = random.pick([TO_B, TO_C]);
  const payload = random.bytes(random.between(0, 1400));
  switch (random.between(0, 7)) {
    case 0:
      rig.device.push(random.bytes(random.between(1, 60)));
      return;
    case 1:
      rig.device.push(
        tcpPacket({ ...to, destination: random.pick(['10.9.9.9', '239.1.1.1', '10.5.52.9']) }),
      );
      return;
    case 2:
    case 3: {
      const packet = tcpPacket({ ...to, payload: random.bytes(random.between(1500, 30_000)) });
      rig.device.push(leavePartial(packet), offloadOf(packet, 1, random.pick([1398, 1000, 537])));
      return;
    }
    case 4: {
      const packet = udpPacket({ ...to, payload: random.bytes(random.between(1200, 12_000)) });
      rig.device.push(leavePartial(packet), offloadOf(packet, random.pick([5, 5, 1]), 1200));
      return;
    }
    default:
      rig.device.push(udpPacket({ ...to, payload }));
  }
}

function pushInbound(rig: Rig, random: Random): void {
  const address = random.pick([PEER_B, PEER_B, PEER_B, PEER_C, STRANGER]);
  const tos = random.pick([0, 0, 0, 1, 3]);
  const packet = random.chance(3)
    ? udpPacket({ payload: random.bytes(random.between(0, 1400)), tos: random.pick([0, 2]) })
    : tcpPacket({ payload: random.bytes(1398) });
  const wrong = [
    frame(packet, { vni: 9 }),
    frame(packet, { to: [2, 0, 0, 0, 0, 7] }),
    frame(packet, { type: random.pick([0x806, 0x86dd, 0x88cc]) }),
    frame(packet).subarray(0, random.between(0, 60)),
    frame(udpPacket({ source: '10.5.90.4' })),
    frame(udpPacket({ destination: '10.7.7.7' })),
  ];
  if (random.chance(4)) {
    rig.underlay.push({ payload: random.pick(wrong), address, tos });
  } else if (random.chance(2)) {
    rig.underlay.push({ payload: frame(packet), address, tos });
  } else {
    const flow = { sourcePort: random.between(1, 3), payload: random.bytes(1000) };
    const frames = Array.from({ length: random.between(2, 30) }, (_, i) =>
      frame(tcpPacket({ ...flow, sequence: 1 + 1000 * i, fragment: 0x4000 })),
    );
    if (random.chance(5)) frames[1] = frame(tcpPacket({ ...flow, source: '127.0.0.1' }));
    const segment = frames[0]!.length;
    rig.underlay.push({ payload: concat(frames), address, tos, segment });
  }
}
