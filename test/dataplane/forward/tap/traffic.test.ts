import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { Drop } from '../../../../src/dataplane/forward/drops.js';
import { EAGAIN, EINVAL, EIO } from '../../../../src/dataplane/io/native.js';
import type { LiveRecord } from '../../../../src/operate/capture/live-records.js';
import { receive, segment } from '../oracle.js';
import { frame, put16, seal, udpPacket } from '../packets.js';
import { innerOf, pushSuper, pushUdp, TO_B } from '../push.js';
import { Random } from '../random.js';
import { Rig } from '../rig.js';
import { lostOf, pushTraffic, Shown } from './shown.js';

const hex = (bytes: Uint8Array) => Buffer.from(bytes).toString('hex');
const inner = (records: readonly LiveRecord[]) => records.filter(({ isInner }) => isInner);
const outer = (records: readonly LiveRecord[]) => records.filter(({ isInner }) => !isInner);

describe('any traffic', () => {
  const first = new Random().seed;
  const seeds = Array.from({ length: 12 }, (_, i) => first + i);

  /** Errors of both sides, the same for the same seed. */
  function trouble(rig: Rig, seed: number): void {
    const errors = new Random(seed + 7);
    rig.underlay.refuse = ({ segment: size }) =>
      errors.chance(20) ? EAGAIN : size > 0 && errors.chance(20) ? EINVAL : 0;
    rig.device.refuse = () => (errors.chance(30) ? errors.pick([EIO, EINVAL]) : 0);
  }

  for (const options of [{}, { vnet: false, udpSegment: false }, { uso: false }]) {
    it(`comes out the same, looked at or not: ${JSON.stringify(options)}`, () => {
      for (const seed of seeds) {
        const [plain, seen] = [new Rig(options), new Rig(options)];
        const shown = new Shown(
          seen,
          new Random(seed).pick([{}, { dropsOnly: true }, { snap: 64 }]),
        );
        for (const rig of [plain, seen]) {
          trouble(rig, seed);
          const random = new Random(seed);
          for (let batch = 0; batch < 5; batch += 1) {
            pushTraffic(rig, random);
            rig.run();
            if (rig === seen) shown.take();
          }
        }
        assert.deepEqual(seen.device.written, plain.device.written, `seed ${seed}`);
        assert.deepEqual(seen.underlay.sent, plain.underlay.sent, `seed ${seed}`);
        assert.deepEqual(seen.counters.row, plain.counters.row, `seed ${seed}`);
      }
    });
  }

  it('is shown whole: packets and drops as they are counted', () => {
    for (const seed of seeds) {
      const rig = new Rig();
      const shown = new Shown(rig);
      trouble(rig, seed);
      const random = new Random(seed);
      const records: LiveRecord[] = [];
      for (let batch = 0; batch < 5; batch += 1) {
        pushTraffic(rig, random);
        rig.run();
        records.push(...shown.take());
      }
      const drops: Record<string, number> = { ...rig.drops() };
      const out = records.filter(({ isOutbound }) => isOutbound);
      const received = outer(records).filter(({ isOutbound }) => !isOutbound);
      const sum = (of: readonly LiveRecord[]) => of.reduce((all, { pieces }) => all + pieces, 0);
      assert.deepEqual(shown.missed, { inner: 0, outer: 0 }, `seed ${seed}`);
      assert.equal(received.length, rig.count('inbound_in_packets'), `seed ${seed}`);
      const { tun_refused: _, ...inbound } = pick(drops, (name) => !isOutbound(name));
      assert.deepEqual(sorted(lostOf(received)), sorted(inbound), `seed ${seed}`);
      assert.equal(
        outer(out).length,
        rig.count('outbound_out_packets') + total(pick(drops, (name) => name.startsWith('send_'))),
        `seed ${seed}`,
      );
      assert.deepEqual(
        sorted(lostOf(outer(out))),
        sorted(pick(drops, (name) => name.startsWith('send_'))),
        `seed ${seed}`,
      );
      assert.equal(
        total(lostOf(inner(out))),
        total(pick(drops, isOutbound)) + notWhole(out),
        `seed ${seed}`,
      );
      const delivered = inner(records).filter(
        ({ isOutbound: is, reason }) => !is && (reason === 0 || reason === Drop.tun_refused),
      );
      assert.equal(
        sum(delivered),
        rig.count('inbound_out_packets') + (drops.tun_refused ?? 0),
        `seed ${seed}`,
      );
    }
  });

  it('only what is dropped: as many, for the same reasons', () => {
    for (const seed of seeds) {
      const rig = new Rig();
      const shown = new Shown(rig, { dropsOnly: true });
      trouble(rig, seed);
      const random = new Random(seed);
      for (let batch = 0; batch < 5; batch += 1) {
        pushTraffic(rig, random);
        rig.run();
      }
      const records = shown.take();
      assert.ok(records.every(({ reason }) => reason !== 0));
      const drops: Record<string, number> = { ...rig.drops() };
      const { tun_refused: _, ...onWire } = pick(drops, (name) => !name.startsWith('outbound_'));
      assert.deepEqual(sorted(lostOf(outer(records))), sorted(onWire), `seed ${seed}`);
      const refused = inner(records).filter(({ reason }) => reason === Drop.tun_refused);
      assert.equal(
        refused.reduce((all, { lost }) => all + lost, 0),
        drops.tun_refused ?? 0,
      );
      const sent = pick(lostOf(inner(records)), isOutbound);
      assert.equal(total(sent), total(pick(drops, isOutbound)) + notWhole(records), `seed ${seed}`);
    }
  });

  it('is counted whole where nothing may be spent on it', () => {
    const rig = new Rig();
    const shown = new Shown(rig, { limited: true });
    trouble(rig, first);
    const random = new Random(first);
    for (let batch = 0; batch < 20; batch += 1) {
      pushTraffic(rig, random);
      rig.run();
    }
    assert.deepEqual(shown.take(), []);
    const { send_peer_full = 0, send_failed = 0 } = rig.drops();
    const sent = rig.count('outbound_out_packets') + send_peer_full + send_failed;
    assert.equal(shown.missed.outer, sent + rig.count('inbound_in_packets'), `seed ${first}`);
  });

  it('of one reason alone', () => {
    const rig = new Rig();
    const shown = new Shown(rig, { dropsOnly: true, reason: Drop.foreign_vni });
    const random = new Random();
    for (let batch = 0; batch < 30; batch += 1) {
      pushTraffic(rig, random);
      rig.run();
    }
    assert.deepEqual(lostOf(outer(shown.take())), { foreign_vni: rig.drops().foreign_vni });
  });

  it('shows super-packets that are what left, and merged ones that are what came', () => {
    const rig = new Rig();
    const shown = new Shown(rig);
    const wanted = [...pushUdp(rig, 1200, 9000), ...pushSuper(rig, TO_B, 30_000, 1398)];
    rig.run();
    const cut = inner(shown.take()).flatMap(({ bytes, pieceSize }) => segment(bytes, pieceSize));
    assert.deepEqual(cut.map(hex), wanted.map(hex));
    assert.deepEqual(innerOf(rig).map(hex), wanted.map(hex));
    const written = rig.receive(frame(seal(put(udpPacket({ payload: new Uint8Array(8) })))));
    const [, delivered] = shown.take();
    const got = receive({ vnet: delivered!.vnet, packet: delivered!.bytes });
    assert.deepEqual(got.map(hex), written.flatMap(receive).map(hex));
  });
});

function put(packet: Uint8Array): Uint8Array {
  put16(packet, 4, 77);
  return packet;
}

/**
 * Super-packets whose offload is wrong are counted as one dropped packet, since they are cut into
 * none; they are shown with the segments that their offload asked for.
 */
function notWhole(records: readonly LiveRecord[]): number {
  return records
    .filter(({ isInner, reason }) => isInner && reason > 0 && reason <= Drop.outbound_bad_offload)
    .reduce((more, { lost }) => more + lost - 1, 0);
}

const isOutbound = (name: string) => name.startsWith('outbound_') || name.startsWith('send_');
const total = (of: Record<string, number>) => Object.values(of).reduce((a, b) => a + b, 0);
const sorted = (of: Record<string, number>) => Object.entries(of).sort();

function pick(
  of: Record<string, number>,
  wanted: (name: string) => boolean,
): Record<string, number> {
  return Object.fromEntries(Object.entries(of).filter(([name]) => wanted(name)));
}
