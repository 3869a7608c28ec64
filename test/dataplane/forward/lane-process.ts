/**
 * A process with a lane that is stopped and one that fails; lane-thread.test.ts waits for its
 * end. Nothing here calls process.exit.
 */
import { createCounters } from '../../../src/dataplane/forward/counters.js';
import { LaneThread } from '../../../src/dataplane/forward/lane-thread.js';
import { loadNative } from '../../../src/dataplane/io/native.js';
import { openUdp } from '../../../src/dataplane/io/udp.js';
import { Publisher } from '../../../src/dataplane/routes/publisher.js';
import { LOOPBACK, loopbackSocket } from '../io/arena.js';

const mac = new Uint8Array([2, 0, 0, 0, 0, 1]);
const publisher = new Publisher({ vni: 1, ownMac: mac, threads: 1 });
const { listener, sender } = openUdp(LOOPBACK, 0);
const [tun] = loopbackSocket(loadNative());

for (const fd of [tun, 99_999]) {
  const lane = new LaneThread({
    lane: 0,
    counters: createCounters(1),
    publisher,
    tun: fd,
    listener,
    sender,
    options: { vni: 1, mac, mtu: 1450, uso: false, udpSegment: true, vnet: true },
  });
  if (fd === tun) setTimeout(() => lane.stop(), 100);
  const error = await lane.ended;
  console.log(`ended: ${error?.name}`);
}
