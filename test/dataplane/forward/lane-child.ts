/** A lane's thread on a real TUN and real sockets; started by lane-thread.test.ts in a namespace. */
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { setTimeout as sleep } from 'node:timers/promises';
import { Counter, Counters, createCounters } from '../../../src/dataplane/forward/counters.js';
import { LaneThread } from '../../../src/dataplane/forward/lane-thread.js';
import { openTun } from '../../../src/dataplane/io/tun.js';
import { openUdp } from '../../../src/dataplane/io/udp.js';
import { OUR_MAC } from './packets.js';
import { publisherOf } from './rig.js';

async function until(what: string, holds: () => boolean): Promise<void> {
  for (let i = 0; i < 100; i += 1) {
    if (holds()) return;
    await sleep(20);
  }
  assert.fail(`not within 2 s: ${what}`);
}

/** The lane's turns in half a second: about two when it sleeps, thousands when it spins. */
async function turnsOf(lane: LaneThread): Promise<number> {
  const before = lane.turns;
  await sleep(500);
  return lane.turns - before;
}

execFileSync('ip', ['link', 'set', 'lo', 'up']);
const tun = openTun('weft0');
const sockets = openUdp(0x7f000001, 8472);
const counters = createCounters(1);
const row = new Counters(counters);
const lane = new LaneThread({
  lane: 0,
  counters,
  publisher: publisherOf(),
  tun: tun.fd,
  listener: sockets.listener,
  sender: sockets.sender,
  options: {
    vni: 1,
    mac: Uint8Array.from(OUR_MAC),
    mtu: 1450,
    uso: tun.uso,
    segments: sockets.segment,
  },
});
await until('the lane runs', () => lane.running);

execFileSync('ip', ['addr', 'add', '10.5.52.0/32', 'dev', 'weft0']);
execFileSync('ip', ['link', 'set', 'weft0', 'up']);
// The TUN speaks first: router solicitations.
await until('IPv6 is counted', () => row.get(Counter.reads) > 0);
assert.equal(row.get(Counter.outbound_out_packets), 0);
const turns = lane.turns;
await until('an idle lane turns', () => lane.turns > turns);
assert.ok((await turnsOf(lane)) < 50, 'an idle lane sleeps');

execFileSync('ip', ['link', 'del', 'weft0']);
assert.ok((await turnsOf(lane)) < 50, 'a lane whose TUN was deleted sleeps');
assert.equal(lane.running, true);

lane.stop();
lane.stop();
const begun = performance.now();
assert.equal(await lane.ended, undefined);
assert.ok(performance.now() - begun < 1000, 'stops at once');
assert.equal(lane.running, false);
