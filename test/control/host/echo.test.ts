import assert from 'node:assert/strict';
import { EventEmitter } from 'node:events';
import test from 'node:test';
import {
  Echo,
  type EchoResult,
  LOOKED_AT,
  type RawSocket,
} from '../../../src/control/host/echo.js';
import { FakeClock, seeded, settle } from '../fakes.js';

const OURS = 0xc0a8_380b;
const PEER = 0xc0a8_390d;
const ROUTER = 0xc0a8_3801;
const PORT = 8472;

class FakeRaw extends EventEmitter implements RawSocket {
  readonly sent: Buffer[] = [];
  readonly options: [number, number, unknown][] = [];
  refusal: Error | null = null;
  paused = false;
  closed = false;

  send(
    buffer: Buffer,
    _offset: number,
    length: number,
    _address: string,
    done: (error: Error | null, bytes: number) => void,
  ): this {
    this.sent.push(Buffer.from(buffer));
    queueMicrotask(() => done(this.refusal, length));
    return this;
  }
  setOption(level: number, option: number, value: unknown): void {
    this.options.push([level, option, value]);
  }
  pauseRecv(): this {
    this.paused = true;
    return this;
  }
  resumeRecv(): this {
    this.paused = false;
    return this;
  }
  close(): this {
    this.closed = true;
    return this;
  }
}

/** IPv4 around ICMP, as a raw socket reads it. */
function fromNet(from: number, icmp: Buffer): Buffer {
  const header = Buffer.alloc(20);
  header[0] = 0x45;
  header[9] = 1;
  header.writeUInt32BE(from, 12);
  header.writeUInt32BE(OURS, 16);
  return Buffer.concat([header, icmp]);
}

function answerTo(echo: Buffer, from = PEER): Buffer {
  const icmp = Buffer.from(echo.subarray(20));
  icmp[0] = 0;
  return fromNet(from, icmp);
}

function tooBig(quoted: Buffer, mtu: number, code = 4): Buffer {
  const icmp = Buffer.alloc(8);
  icmp[0] = 3;
  icmp[1] = code;
  icmp.writeUInt16BE(mtu, 6);
  return fromNet(ROUTER, Buffer.concat([icmp, quoted.subarray(0, 28)]));
}

/** The start of a VXLAN packet of ours. */
function datagram(change: { source?: number; port?: number; protocol?: number } = {}): Buffer {
  const packet = Buffer.alloc(28);
  packet[0] = 0x45;
  packet[9] = change.protocol ?? 17;
  packet.writeUInt32BE(change.source ?? OURS, 12);
  packet.writeUInt32BE(PEER, 16);
  packet.writeUInt16BE(40_000, 20);
  packet.writeUInt16BE(change.port ?? PORT, 22);
  return packet;
}

async function open() {
  const clock = new FakeClock();
  const raw = new FakeRaw();
  const hints: number[] = [];
  const hint = (address: number) => void hints.push(address);
  const options = { clock, random: seeded(7), source: () => OURS, port: PORT, hint };
  const echo = await Echo.open(options, async () => raw);
  const ask = (size = 1500) => {
    const results: EchoResult[] = [];
    void echo.send(PEER, size, 1_000).then((result) => results.push(result));
    return results;
  };
  const hear = async (...messages: Buffer[]) => {
    for (const message of messages) raw.emit('message', message, '');
    await settle();
  };
  return { clock, raw, echo, hints, ask, hear };
}

test('an echo is a whole IPv4 packet of the size, with DF; its answer is known', async () => {
  const { raw, ask, hear } = await open();
  const results = ask(1400);
  const [sent] = raw.sent;
  assert.equal(sent!.length, 1400);
  assert.equal(sent!.readUInt16BE(6), 0x4000);
  assert.equal(sent!.readUInt32BE(12), OURS);
  let sum = 0;
  for (let at = 20; at < 1400; at += 2) sum += sent!.readUInt16BE(at);
  while (sum > 0xffff) sum = (sum & 0xffff) + (sum >>> 16);
  assert.equal(sum, 0xffff);
  await hear(answerTo(sent!));
  assert.deepEqual(results, [{ kind: 'answered' }]);
});

test('the kernel is to believe nothing that ICMP says of the socket, and to pass two types on', async () => {
  const { raw } = await open();
  assert.deepEqual(raw.options, [
    [255, 1, 0xffff_fff6],
    [0, 3, 1],
    [0, 10, 4],
  ]);
});

test('answers of others, to others, or with another token are none', async () => {
  const { clock, raw, ask, hear } = await open();
  const results = ask();
  const [sent] = raw.sent;
  for (const at of [24, 26, 28, 32, 35]) {
    const other = Buffer.from(sent!);
    other[at]! ^= 1;
    await hear(answerTo(other));
  }
  await hear(answerTo(sent!, ROUTER), sent!, answerTo(sent!).subarray(0, 30), Buffer.alloc(3));
  assert.deepEqual(results, []);
  await clock.pass(1_000);
  assert.deepEqual(results, [{ kind: 'silent' }]);
  await hear(answerTo(sent!));
});

test('"fragmentation needed" counts where the quoted 8 bytes are those of the echo', async () => {
  const { raw, ask, hear } = await open();
  const results = ask();
  const [sent] = raw.sent;
  for (const at of [12, 16, 20, 21, 22, 23, 24, 25, 26, 27]) {
    const other = Buffer.from(sent!);
    other[at]! ^= 1;
    await hear(tooBig(other, 600));
  }
  await hear(tooBig(sent!, 600).subarray(0, 54));
  assert.deepEqual(results, []);
  await hear(tooBig(sent!, 1400));
  assert.deepEqual(results, [{ kind: 'too big', mtu: 1400, from: '192.168.56.1' }]);
});

test('"unreachable" of another kind that quotes the echo tells who says so, and which', async () => {
  const { raw, ask, hear } = await open();
  const results = ask();
  const [sent] = raw.sent;
  const other = Buffer.from(sent!);
  other[27]! ^= 1;
  await hear(tooBig(other, 0, 1));
  assert.deepEqual(results, []);
  await hear(tooBig(sent!, 0, 1));
  assert.deepEqual(results, [{ kind: 'unreachable', code: 1, from: '192.168.56.1' }]);
});

test('"fragmentation needed" about a VXLAN packet of ours is a hint; about another it is nothing', async () => {
  const { hints, hear } = await open();
  await hear(tooBig(datagram({ source: ROUTER }), 600), tooBig(datagram({ port: 53 }), 600));
  await hear(tooBig(datagram({ protocol: 6 }), 600), tooBig(datagram(), 600, 3));
  assert.deepEqual(hints, []);
  await hear(tooBig(datagram(), 600));
  assert.deepEqual(hints, [PEER]);
});

test('what the kernel refuses to send is told at once, by name', async () => {
  const { raw, ask, clock } = await open();
  raw.refusal = new Error('Message too long');
  const results = ask();
  await settle();
  raw.refusal = new Error('Operation not permitted');
  const more = ask();
  await settle();
  assert.deepEqual(results, [{ kind: 'cannot', why: 'larger than the device' }]);
  assert.deepEqual(more, [{ kind: 'cannot', why: 'Operation not permitted' }]);
  assert.deepEqual(clock.waits, []);
});

test('under a flood so many messages a second are looked at, and no silence is believed', async () => {
  const { clock, raw, ask, hear, hints } = await open();
  const results = ask();
  const flood = Array(LOOKED_AT - 1).fill(tooBig(datagram(), 600));
  await hear(...flood);
  assert.equal(raw.paused, false);
  await hear(flood[0]!, flood[0]!, flood[0]!);
  assert.equal(raw.paused, true);
  assert.equal(hints.length, LOOKED_AT);
  await clock.pass(1_000);
  assert.equal(raw.paused, false);
  assert.equal(results[0]?.kind, 'cannot');
  const after = ask();
  await hear(answerTo(raw.sent[1]!));
  assert.deepEqual(after, [{ kind: 'answered' }]);
});

test('after an error of the socket it is closed, nothing can be asked, and what waits is told', async () => {
  const { raw, echo, ask } = await open();
  const results = ask();
  raw.emit('error', new Error('Resource temporarily unavailable'));
  assert.deepEqual([echo.closed, raw.closed], ['', false]);
  raw.emit('error', new Error('Network is down'));
  await settle();
  assert.equal(raw.closed, true);
  assert.deepEqual(results, [{ kind: 'cannot', why: 'Network is down' }]);
  assert.equal(echo.closed, 'Network is down');
  assert.deepEqual(await echo.send(PEER, 100, 1_000), { kind: 'cannot', why: 'Network is down' });
});

test('a socket that takes no options is closed, and the missing right is named', async () => {
  const raw = new FakeRaw();
  raw.setOption = () => {
    throw new Error('Protocol not available');
  };
  const options = { clock: new FakeClock(), random: seeded(1), source: () => OURS, port: PORT };
  const opening = Echo.open({ ...options, hint: () => {} }, async () => raw);
  await assert.rejects(opening, /not allowed here \(Protocol not available\); CAP_NET_RAW/);
  assert.equal(raw.closed, true);
});
