/** The TUN as a lane's device. device.test.ts runs this file as root in a network namespace of its own. */
import assert from 'node:assert/strict';
import test from 'node:test';
import { IOVEC_ROW, LAYOUT, LaneMemory, WRITE_ROW } from '../../../src/dataplane/io/memory.js';
import { EINVAL } from '../../../src/dataplane/io/native.js';
import { openTun, TunDevice } from '../../../src/dataplane/io/tun.js';
import { Arena, ipv4, pattern } from './arena.js';
import { ip, OURS, THEIRS } from './namespace.js';
import { type Flow, PLAIN, udpPacket } from './packets.js';

const FLOW: Flow = {
  source: THEIRS,
  sourcePort: 77,
  destination: OURS,
  destinationPort: 5000,
};

test('a device writes from the row that it is told on: what stands before it is not written again', (t) => {
  const arena = new Arena();
  const { native } = arena;
  const { fd } = openTun('weft0');
  t.after(() => native.close(fd));
  ip('address', 'add', '10.99.0.1/24', 'dev', 'weft0');
  ip('link', 'set', 'weft0', 'up');
  const socket = native.udpOpen(4);
  t.after(() => native.close(socket));
  native.udpBind(socket, ipv4(OURS, 5000));
  const memory = new LaneMemory();
  native.attach(memory.bytes);
  const device = new TunDevice(native, memory, fd, true);
  const lengths = [100, 200, 300, 400];
  let at: number = LAYOUT.inbound;
  for (const [row, length] of lengths.entries()) {
    const whole = Buffer.concat([PLAIN, udpPacket(FLOW, pattern(length))]);
    memory.bytes.set(whole, at);
    memory.words.set([row, 1], (LAYOUT.writes >> 2) + row * WRITE_ROW.words);
    memory.words.set([at, whole.length], (LAYOUT.writeIovecs >> 2) + row * IOVEC_ROW.words);
    at += 1024;
  }
  const arrived = () => {
    native.attach(arena.bytes);
    const got = arena.receive(socket).map(({ data }) => data.length);
    native.attach(memory.bytes);
    return got;
  };
  assert.equal(device.write(1, 2, lengths.length), 2);
  assert.deepEqual(arrived(), [200, 300]);
  assert.equal(device.write(3, 1, lengths.length), 1);
  assert.deepEqual(arrived(), [400]);

  // One that is refused is the row of that number, from the first one on.
  memory.words[(LAYOUT.writeIovecs >> 2) + 2 * IOVEC_ROW.words + IOVEC_ROW.length] = 5;
  assert.equal(device.write(1, 3, lengths.length), 1);
  assert.equal(device.lastError(), EINVAL);
  assert.deepEqual(arrived(), [200]);
  assert.equal(device.write(3, 1, lengths.length), 1);
  assert.deepEqual(arrived(), [400]);
});
