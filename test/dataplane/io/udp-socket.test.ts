/** The addon's UDP calls on real sockets over the loopback device. */
import assert from 'node:assert/strict';
import test from 'node:test';
import { ADDRESS_SIZE } from '../../../src/dataplane/io/memory.js';
import {
  ECONNREFUSED,
  EMSGSIZE,
  IP_MTU_DISCOVER,
  IP_PMTUDISC_OMIT,
  IP_RECVTOS,
  SO_SNDBUF,
  SOL_IP,
  SOL_SOCKET,
  SOL_UDP,
  UDP_GRO,
} from '../../../src/dataplane/io/native.js';
import * as socketAddress from '../../../src/dataplane/io/socket-address.js';
import { openUdp } from '../../../src/dataplane/io/udp.js';
import {
  Arena,
  HEADROOM,
  ipv4,
  ipv6Loopback,
  LOOPBACK,
  loopbackSocket,
  type Outgoing,
  openDescriptors,
  pattern,
  sockets,
} from './arena.js';

const SOL_IPV6 = 41;
const IPV6_RECVTCLASS = 66;
const EBADF = 9;
const ENOTSOCK = 88;

test('a batch to several destinations, in pieces, arrives whole, in order, with its sender', (t) => {
  const arena = new Arena();
  const [[from, fromAt], ...destinations] = sockets(t, arena.native, 4) as [
    [number, Uint8Array],
    ...[number, Uint8Array][],
  ];
  // 150 rows: more than one sendmmsg; 1 to 5 pieces each, some of them empty.
  const messages: Outgoing[] = [];
  for (let i = 0; i < 150; i += 1) {
    const data = pattern(10 + i * 3, i);
    const cut = i % data.length;
    const parts = [data.subarray(0, cut), data.subarray(cut, cut), data.subarray(cut)];
    messages.push({ fd: from, to: destinations[i % 3]![1], parts: parts.slice(i % 5 ? 0 : 2) });
  }
  assert.equal(arena.send(messages), 150);
  assert.equal(arena.native.lastError(), 0);
  destinations.forEach(([fd], index) => {
    const got = arena.receive(fd);
    const expected = messages.filter((_, i) => i % 3 === index);
    assert.deepEqual(
      got.map(({ data }) => data),
      expected.map(({ parts }) => Buffer.concat(parts)),
    );
    for (const { from: sender, segment, tos, offset } of got) {
      assert.deepEqual(sender.subarray(0, 8), Buffer.from(fromAt.subarray(0, 8)));
      assert.equal(segment, 0);
      assert.equal(tos, 0);
      assert.equal(offset % 64, HEADROOM % 64, 'on a line plus the headroom');
    }
    const places = got.map(({ offset, data }) => [offset - HEADROOM, offset + data.length]);
    for (let i = 1; i < places.length; i += 1) {
      assert.ok(places[i]![0]! >= places[i - 1]![1]!, 'the headroom of one lies in another');
    }
    assert.equal(arena.receive(fd).length, 0, 'nothing is left');
  });
  arena.checkGuards('a batch');
});

test('one call receives at most the rows it was given; the rest stays', (t) => {
  const arena = new Arena();
  const [[fd, at]] = sockets(t, arena.native, 1) as [[number, Uint8Array]];
  arena.send(Array.from({ length: 10 }, (_, i) => ({ fd, to: at, parts: [pattern(5, i)] })));
  assert.equal(arena.receive(fd, 4).length, 4);
  assert.equal(arena.receive(fd, 0).length, 0);
  assert.deepEqual(arena.receive(fd)[0]?.data, pattern(5, 4));
});

test('rows of several sockets in one call', (t) => {
  const arena = new Arena();
  const [[a, aAt], [b, bAt], [to, toAt]] = sockets(t, arena.native, 3) as [
    [number, Uint8Array],
    [number, Uint8Array],
    [number, Uint8Array],
  ];
  const order = [a, a, b, a, b, b];
  const messages = order.map((fd, i) => ({ fd, to: toAt, parts: [pattern(8, i)] }));
  assert.equal(arena.send(messages), 6);
  assert.deepEqual(
    arena.receive(to).map(({ data, from }) => [data, socketAddress.port(from, 0)]),
    order.map((fd, i) => [pattern(8, i), socketAddress.port(fd === a ? aAt : bAt, 0)]),
  );
});

test('UDP_SEGMENT cuts; UDP_GRO gives the train back whole, with its size', (t) => {
  const arena = new Arena();
  const { native } = arena;
  const [[from], [plain, plainAt], [merging, mergingAt]] = sockets(t, native, 3) as [
    [number, Uint8Array],
    [number, Uint8Array],
    [number, Uint8Array],
  ];
  assert.equal(native.setOption(merging, SOL_UDP, UDP_GRO, 1), 0);
  const data = pattern(5500);
  const parts = [data.subarray(0, 22), data.subarray(22, 1000), data.subarray(1000)];
  assert.equal(arena.send([{ fd: from, to: plainAt, segment: 1000, parts }]), 1);
  const cut = arena.receive(plain);
  assert.deepEqual(
    cut.map((datagram) => datagram.data.length),
    [1000, 1000, 1000, 1000, 1000, 500],
  );
  assert.deepEqual(Buffer.concat(cut.map((datagram) => datagram.data)), data);

  assert.equal(arena.send([{ fd: from, to: mergingAt, segment: 1000, tos: 0x02, parts }]), 1);
  assert.equal(arena.send([{ fd: from, to: mergingAt, parts: [data.subarray(0, 700)] }]), 1);
  const [train, single] = arena.receive(merging);
  assert.equal(train?.segment, 1000);
  assert.deepEqual(train?.data, data);
  assert.equal(single?.segment, 0, 'a single datagram has no segment size, though a train had');
  assert.equal(single?.data.length, 700);

  // 64 segments are what every kernel takes; too many, and too long, are the row's own errors.
  const many = pattern(64 * 900);
  assert.equal(arena.send([{ fd: from, to: mergingAt, segment: 900, parts: [many] }]), 1);
  assert.deepEqual(arena.receive(merging)[0]?.data, many);
  assert.equal(arena.send([{ fd: from, to: mergingAt, segment: 10, parts: [many] }]), 0);
  assert.equal(native.errnoName(native.lastError()), 'EINVAL');
});

test('the TOS goes out and comes in, ECN bits and all', (t) => {
  const arena = new Arena();
  const [[from], [fd, at]] = sockets(t, arena.native, 2) as [
    [number, Uint8Array],
    [number, Uint8Array],
  ];
  assert.equal(arena.native.setOption(fd, SOL_IP, IP_RECVTOS, 1), 0);
  const values = [0, 1, 2, 3, 0x10, 0xb8, 0xff, 0];
  arena.send(values.map((tos) => ({ fd: from, to: at, tos, parts: [pattern(4)] })));
  assert.deepEqual(
    arena.receive(fd).map(({ tos }) => tos),
    values,
  );
});

for (const family of [4, 6] as const) {
  test(`a connected IPv${family} socket sends without an address, with its TOS`, (t) => {
    const arena = new Arena();
    const { native } = arena;
    const [[from, fromAt], [fd, at]] = sockets(t, native, 2, family) as [
      [number, Uint8Array],
      [number, Uint8Array],
    ];
    native.udpConnect(from, at);
    if (family === 4) native.setOption(fd, SOL_IP, IP_RECVTOS, 1);
    else native.setOption(fd, SOL_IPV6, IPV6_RECVTCLASS, 1);
    const segment = 600;
    assert.equal(arena.send([{ fd: from, tos: 0xba, segment, parts: [pattern(1500)] }]), 1);
    const got = arena.receive(fd);
    assert.deepEqual(
      got.map(({ data, tos }) => [data.length, tos]),
      [
        [600, 0xba],
        [600, 0xba],
        [300, 0xba],
      ],
    );
    assert.equal(socketAddress.port(got[0]!.from, 0), socketAddress.port(fromAt, 0));
    assert.equal(socketAddress.isIpv4(got[0]!.from, 0), family === 4);
  });
}

test('IPv6 and IPv4 destinations share one table', (t) => {
  const arena = new Arena();
  const { native } = arena;
  const [[from4], [fd4, at4]] = sockets(t, native, 2) as [
    [number, Uint8Array],
    [number, Uint8Array],
  ];
  const [[from6], [fd6, at6]] = sockets(t, native, 2, 6) as [
    [number, Uint8Array],
    [number, Uint8Array],
  ];
  native.setOption(fd6, SOL_IPV6, IPV6_RECVTCLASS, 1);
  assert.deepEqual(at6, ipv6Loopback(socketAddress.port(at6, 0)));
  const sent = arena.send([
    { fd: from6, to: at6, tos: 3, parts: [pattern(1200)] },
    { fd: from4, to: at4, tos: 3, parts: [pattern(1300)] },
    { fd: from6, to: at6, segment: 500, parts: [pattern(1400)] },
  ]);
  assert.equal(sent, 3);
  const six = arena.receive(fd6);
  assert.deepEqual(
    six.map(({ data, tos }) => [data.length, tos]),
    [
      [1200, 3],
      [500, 0],
      [500, 0],
      [400, 0],
    ],
  );
  assert.equal(six[0]!.from[8 + 15], 1, 'the sender is ::1');
  assert.equal(arena.receive(fd4)[0]?.data.length, 1300);
});

test('nothing there: no rows; and an errno where there is an error', (t) => {
  const arena = new Arena();
  const { native } = arena;
  const [[fd]] = sockets(t, native, 1) as [[number, Uint8Array]];
  assert.deepEqual(arena.receive(fd), []);
  const event = native.eventOpen();
  t.after(() => native.close(event));
  assert.throws(() => arena.receive(event), /ENOTSOCK/);
  assert.throws(() => arena.receive(-1), /EBADF/);
  assert.equal(arena.send([{ fd: event, to: ipv4(LOOPBACK, 9), parts: [] }]), 0);
  assert.equal(native.lastError(), ENOTSOCK);
  assert.equal(arena.send([{ fd: -1, to: ipv4(LOOPBACK, 9), parts: [] }]), 0);
  assert.equal(native.lastError(), EBADF);
  assert.throws(() => native.getOption(-1, SOL_SOCKET, SO_SNDBUF), { code: 'EBADF' });
  assert.equal(native.setOption(fd, SOL_SOCKET, 9999, 1), -92);
});

test('an error in the middle of a batch names its row, and the rest can go on', (t) => {
  const arena = new Arena();
  const { native } = arena;
  const [[from], [fd, at]] = sockets(t, native, 2) as [[number, Uint8Array], [number, Uint8Array]];
  const short = (i: number) => ({ fd: from, to: at, parts: [pattern(6, i)] });
  const tooLong = { fd: from, to: at, parts: [pattern(65508)] };
  const batch = [short(0), short(1), tooLong, short(3), short(4)];
  assert.equal(arena.send(batch), 2);
  assert.equal(native.lastError(), EMSGSIZE);
  assert.equal(arena.send(batch.slice(3)), 2);
  assert.equal(native.lastError(), 0, 'the error before is forgotten');
  assert.equal(arena.send([tooLong]), 0);
  assert.equal(native.lastError(), EMSGSIZE);
  assert.deepEqual(
    arena.receive(fd).map(({ data }) => data),
    [0, 1, 3, 4].map((i) => pattern(6, i)),
  );
});

test("a dead peer's error shows on the socket that is connected to it", (t) => {
  const arena = new Arena();
  const { native } = arena;
  const [[from], [other, otherAt]] = sockets(t, native, 2) as [
    [number, Uint8Array],
    [number, Uint8Array],
  ];
  const [gone, goneAt] = loopbackSocket(native);
  native.close(gone);
  native.udpConnect(from, goneAt);
  assert.equal(arena.send([{ fd: from, parts: [pattern(3)] }]), 1);
  assert.equal(
    arena.send([
      { fd: other, to: otherAt, parts: [pattern(3)] },
      { fd: from, parts: [pattern(3)] },
      { fd: other, to: otherAt, parts: [pattern(3)] },
    ]),
    1,
  );
  assert.equal(native.lastError(), ECONNREFUSED);
  assert.equal(arena.receive(other).length, 1);
});

test('datagrams of no bytes and of 65507', (t) => {
  const arena = new Arena();
  const [[from, fromAt], [fd, at]] = sockets(t, arena.native, 2) as [
    [number, Uint8Array],
    [number, Uint8Array],
  ];
  const longest = pattern(65507);
  const sent = arena.send([
    { fd: from, to: at, parts: [] },
    { fd: from, to: at, parts: [longest] },
    { fd: from, to: at, parts: [pattern(0)] },
  ]);
  assert.equal(sent, 3);
  const got = arena.receive(fd);
  assert.deepEqual(
    got.map(({ data }) => data.length),
    [0, 65507, 0],
  );
  assert.deepEqual(got[1]?.data, longest);
  assert.equal(socketAddress.port(got[0]!.from, 0), socketAddress.port(fromAt, 0));
  assert.equal(socketAddress.ipv4Address(got[2]!.from, 0), LOOPBACK);
  arena.checkGuards('the longest');
});

test('a discarding socket queues nothing, and its senders notice nothing', (t) => {
  const arena = new Arena();
  const { native } = arena;
  const [[from], [fd, at]] = sockets(t, native, 2) as [[number, Uint8Array], [number, Uint8Array]];
  native.udpDiscard(fd);
  assert.equal(arena.send([1, 2, 3].map((n) => ({ fd: from, to: at, parts: [pattern(n)] }))), 3);
  assert.ok(!arena.readable(fd, 20));
  assert.deepEqual(arena.receive(fd), []);
  assert.throws(() => native.udpDiscard(-1), {
    code: 'EBADF',
    errno: EBADF,
    syscall: 'SO_ATTACH_FILTER',
  });
});

test('set-up calls say which call failed, and why', (t) => {
  const arena = new Arena();
  const { native } = arena;
  const [[fd, at]] = sockets(t, native, 1) as [[number, Uint8Array]];
  const second = native.udpOpen(4);
  t.after(() => native.close(second));
  assert.throws(() => native.udpBind(second, at), {
    code: 'EADDRINUSE',
    syscall: 'bind',
    message: /^bind: .*EADDRINUSE/,
  });
  assert.throws(() => native.udpBind(second, ipv4(0x01020304, 0)), { code: 'EADDRNOTAVAIL' });
  assert.throws(() => native.udpBind(second, new Uint8Array(ADDRESS_SIZE)), { code: 'EINVAL' });
  assert.throws(() => native.udpConnect(fd, new Uint8Array(ADDRESS_SIZE)), { code: 'EINVAL' });
  const odd = new Uint8Array(new ArrayBuffer(64), 1, ADDRESS_SIZE);
  odd.set(at);
  assert.throws(() => native.udpBind(second, odd), { code: 'EADDRINUSE' });
  const name = new Uint8Array(ADDRESS_SIZE).fill(0xff);
  native.udpName(fd, name);
  assert.deepEqual(name.subarray(0, 8), at.subarray(0, 8));
});

test('openUdp: a listener that merges and shows the TOS, a sender that does not listen', (t) => {
  const arena = new Arena();
  const { native } = arena;
  const before = openDescriptors();
  const open = openUdp(LOOPBACK, 0);
  const listenerAt = new Uint8Array(ADDRESS_SIZE);
  native.udpName(open.listener, listenerAt);
  const port = socketAddress.port(listenerAt, 0);
  assert.throws(() => openUdp(LOOPBACK, port), { code: 'EADDRINUSE' });
  assert.throws(() => openUdp(0x01020304, port), { code: 'EADDRNOTAVAIL' });
  assert.equal(openDescriptors(), before + 2, 'a failed openUdp keeps no socket');

  assert.ok(open.segment && open.gro, 'this kernel has both');
  assert.ok(open.receiveBuffer > 200_000);
  assert.equal(native.getOption(open.sender, SOL_IP, IP_MTU_DISCOVER), IP_PMTUDISC_OMIT);
  const message = { fd: open.sender, to: listenerAt, segment: 50, tos: 3 };
  assert.equal(arena.send([{ ...message, parts: [pattern(150)] }]), 1);
  const [train] = arena.receive(open.listener);
  assert.deepEqual([train?.segment, train?.tos, train?.data.length], [50, 3, 150]);

  const [[other]] = sockets(t, native, 1) as [[number, Uint8Array]];
  const senderAt = new Uint8Array(ADDRESS_SIZE);
  native.udpName(open.sender, senderAt);
  assert.equal(arena.send([{ fd: other, to: senderAt, parts: [pattern(9)] }]), 1);
  assert.deepEqual(arena.receive(open.sender), []);
  native.close(open.listener);
  native.close(open.sender);
  assert.equal(openDescriptors(), before + 1);
});

test('an event wakes a wait until it is drained; a dead descriptor shows as such', () => {
  const arena = new Arena();
  const { native } = arena;
  const event = native.eventOpen();
  assert.equal(native.eventDrain(event), 0, 'draining nothing is no error');
  assert.ok(!arena.readable(event));
  assert.equal(native.eventSignal(event), 0);
  assert.equal(native.eventSignal(event), 0);
  assert.ok(arena.readable(event, 1000));
  assert.equal(native.eventDrain(event), 0);
  assert.ok(!arena.readable(event));
  assert.equal(native.close(event), 0);
  assert.equal(native.close(event), -EBADF);
  assert.equal(native.eventSignal(event), -EBADF);
  assert.ok(arena.readable(event), 'POLLNVAL counts as ready');
  assert.ok(!arena.readable(-1), 'a negative descriptor is passed over');
});
