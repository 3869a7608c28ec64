/**
 * Bursts of numbered datagrams, told apart by size and content. Run inside a namespace:
 *
 *   datagrams.js receive PORT                     prints "COUNT SHA256" of each flow when told the end
 *   datagrams.js send ADDRESS PORT CASE [PER]     sends the datagrams of a case (below), PER of them at
 *                                                 once, and prints the same lines
 *
 * The receiver reads one datagram at a time, without UDP_GRO, as most programs do. It answers each
 * burst, so that none is lost to a full socket.
 */
import { createHash, type Hash } from 'node:crypto';
import dgram from 'node:dgram';
import {
  ADDRESS_SIZE,
  BATCH,
  INBOUND_END,
  LAYOUT,
  LaneMemory,
  MESSAGE_ROW,
  MESSAGES,
} from '../../../src/dataplane/io/memory.js';
import { loadNative, POLLIN, SOL_SOCKET } from '../../../src/dataplane/io/native.js';
import * as socketAddress from '../../../src/dataplane/io/socket-address.js';
import { parseAddress } from '../../../src/dataplane/wire/ipv4.js';

const SO_NO_CHECK = 11;
/** The first byte of what is no datagram of a case: the end of a burst, the end of all. */
const BURST_END = 0xfe;
const ALL_END = 0xff;
const ANSWER_WAIT = 5_000;

interface Case {
  readonly flows: number;
  readonly checksum: boolean;
  readonly sizes: readonly number[];
}

const times = (count: number, sizes: readonly number[]): number[] =>
  Array.from({ length: count }, () => sizes).flat();
const range = (from: number, to: number): number[] =>
  Array.from({ length: to - from + 1 }, (_, i) => from + i);

const CASES: Readonly<Record<string, Case>> = {
  rising: { flows: 1, checksum: true, sizes: range(1, 1400) },
  pairs: { flows: 1, checksum: true, sizes: range(1, 1400).flatMap((size) => [size, size, size]) },
  equal: { flows: 1, checksum: true, sizes: times(10_000, [500]) },
  small: { flows: 1, checksum: true, sizes: times(10_000, [4]) },
  full: { flows: 1, checksum: true, sizes: times(5_000, [1400]) },
  alternating: { flows: 1, checksum: true, sizes: times(2_000, [1, 499, 500]) },
  shorter: { flows: 1, checksum: true, sizes: times(1_000, [700, 700, 700, 200]) },
  unchecked: { flows: 1, checksum: false, sizes: times(4_000, [600]) },
  fragments: { flows: 1, checksum: true, sizes: times(300, [600, 600, 3000, 600, 600]) },
  flows: { flows: 2, checksum: true, sizes: times(6_000, [512]) },
};

function lines(flows: Iterable<{ count: number; hash: Hash }>): string {
  return [...flows]
    .map(({ count, hash }) => `${count} ${hash.digest('hex')}`)
    .sort()
    .join(' ');
}

function take(flow: { count: number; hash: Hash }, data: Uint8Array): void {
  flow.count += 1;
  flow.hash.update(`${data.length} `).update(data);
}

function receive(port: number): void {
  const flows = new Map<number, { count: number; hash: Hash }>();
  const socket = dgram.createSocket('udp4');
  socket.on('message', (message, from) => {
    if (message[0] === BURST_END) {
      socket.send(message, from.port, from.address);
    } else if (message[0] === ALL_END) {
      console.log(`got ${lines(flows.values())}`);
      socket.close();
    } else {
      let flow = flows.get(from.port);
      if (flow === undefined) {
        flow = { count: 0, hash: createHash('sha256') };
        flows.set(from.port, flow);
      }
      take(flow, message);
    }
  });
  socket.bind(port, '0.0.0.0', () => console.log('listening'));
}

function send(address: string, port: number, { flows, checksum, sizes }: Case, per: number): void {
  const native = loadNative();
  const memory = new LaneMemory();
  native.attach(memory.bytes);
  const { words, bytes } = memory;
  const sockets = Array.from({ length: flows }, () => native.udpOpen(4));
  if (!checksum) for (const fd of sockets) native.setOption(fd, SOL_SOCKET, SO_NO_CHECK, 1);
  const seen = sockets.map(() => ({ count: 0, hash: createHash('sha256') }));
  socketAddress.writeIpv4(bytes, LAYOUT.destinations, parseAddress(address)!, port);

  let rows = 0;
  let at = LAYOUT.outbound;
  const put = (fd: number, size: number, fill: (i: number) => number): Uint8Array => {
    for (let i = 0; i < size; i += 1) bytes[at + i] = fill(i);
    words.set([at, size], (LAYOUT.sendIovecs >> 2) + 2 * rows);
    const row = (LAYOUT.messages >> 2) + MESSAGE_ROW.words * rows;
    words.set([fd, 0, 0, 0, rows, 1], row);
    rows += 1;
    at += size;
    return bytes.subarray(at - size, at);
  };
  const flush = (): void => {
    const { messages, sendIovecs, destinations } = LAYOUT;
    const sent = native.udpSend(messages, rows, sendIovecs, rows, destinations, MESSAGES);
    if (sent !== rows) throw new Error(native.errnoName(native.lastError()));
    rows = 0;
    at = LAYOUT.outbound;
  };
  const answer = (fd: number): void => {
    words.set([fd, POLLIN], LAYOUT.wait >> 2);
    const { wait, datagrams, inbound, senders } = LAYOUT;
    if (native.wait(wait, 1, ANSWER_WAIT) <= 0) throw new Error('no answer');
    native.udpReceive(fd, datagrams, BATCH, inbound, INBOUND_END, ADDRESS_SIZE, senders);
  };

  for (let next = 0; next < sizes.length; ) {
    for (let i = 0; i < per && next < sizes.length; i += 1) {
      const flow = next % flows;
      // The number in front, as far as it fits; no byte looks like an end.
      const number = next;
      const data = put(sockets[flow]!, sizes[next]!, (k) =>
        k < 3 ? (number >> (7 * k)) & 0x7f : (number * 31 + k * 7) & 0xff,
      );
      take(seen[flow]!, data);
      next += 1;
    }
    for (const fd of sockets) put(fd, 1, () => BURST_END);
    flush();
    for (const fd of sockets) answer(fd);
  }
  put(sockets[0]!, 1, () => ALL_END);
  flush();
  console.log(`sent ${lines(seen)}`);
}

const [what = '', a = '', b = '', c = '', d = '40'] = process.argv.slice(2);
if (what === 'receive') receive(Number(a));
else if (what === 'send' && CASES[c] !== undefined) send(a, Number(b), CASES[c], Number(d));
else throw new Error(`datagrams: what is ${JSON.stringify([what, c])}?`);
