/**
 * A stranger on the underlay: sends IPv4 packets of any kind, as if it were a router that forwards
 * them. Run inside a namespace that forwards; the packets come out of a TUN of its own.
 *
 *   forge.js RATE SECONDS    reads packets from standard input, one a line in hexadecimal, and sends
 *                            them in turn, RATE a second for SECONDS; prints how many
 *
 * Header checksums are taken as they are.
 */
import { spawnSync } from 'node:child_process';
import fs from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import { LAYOUT, LaneMemory } from '../../../src/dataplane/io/memory.js';
import { loadNative } from '../../../src/dataplane/io/native.js';

const DEVICE = 'forge0';
/** Packets go in groups, so many times a second. */
const GROUPS = 100;

const [rate = 0, seconds = 0] = process.argv.slice(2).map(Number);
const packets = fs
  .readFileSync(0, 'utf8')
  .split('\n')
  .filter((line) => line !== '')
  .map((line) => Buffer.from(line, 'hex'));

const native = loadNative();
const memory = new LaneMemory();
native.attach(memory.bytes);
const fd = native.tunOpen(DEVICE, 0);
const { stderr } = spawnSync('ip', ['link', 'set', DEVICE, 'up', 'mtu', '65535']);
if (String(stderr) !== '') throw new Error(String(stderr));
fs.writeFileSync(`/proc/sys/net/ipv4/conf/${DEVICE}/rp_filter`, '0');
fs.writeFileSync('/proc/sys/net/ipv4/conf/all/rp_filter', '0');

const begun = performance.now();
let sent = 0;
while (performance.now() - begun < seconds * 1000) {
  const due = Math.min(rate * seconds, ((performance.now() - begun) / 1000) * rate + 1);
  for (; sent < Math.floor(due); sent += 1) {
    const packet = packets[sent % packets.length]!;
    memory.bytes.set(packet, LAYOUT.inbound);
    memory.words.set([0, 1], LAYOUT.writes >> 2);
    memory.words.set([LAYOUT.inbound, packet.length], LAYOUT.writeIovecs >> 2);
    if (native.tunWrite(fd, LAYOUT.writes, 1, LAYOUT.writeIovecs, 1) !== 1) {
      throw new Error(`not sent: ${native.errnoName(native.lastError())}`);
    }
  }
  await sleep(1000 / GROUPS);
}
console.log(sent);
