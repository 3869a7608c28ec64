/**
 * The addon over a memory with a guard before and behind it, and shorthand for the tables:
 * what a lane lays out for itself in memory.ts, here at places that a test can get wrong.
 */
import assert from 'node:assert/strict';
import fs from 'node:fs';
import type { TestContext } from 'node:test';
import {
  ADDRESS_SIZE,
  DATAGRAM_ROW,
  IOVEC_ROW,
  MESSAGE_ROW,
  PACKET_ROW,
  WRITE_ROW,
} from '../../../src/dataplane/io/memory.js';
import { loadNative, type Native } from '../../../src/dataplane/io/native.js';
import * as socketAddress from '../../../src/dataplane/io/socket-address.js';

export const LOOPBACK = 0x7f000001;
export const SIZE = 512 * 1024;
const GUARD = 4096;
const PATTERN = 0xa5;

/** Places in the memory: four tables, what is sent, and the area where reads land. */
export const TABLE = 64;
export const MESSAGES = 8 * 1024;
export const IOVECS = 24 * 1024;
export const ADDRESSES = 60 * 1024;
export const PAYLOAD = 80 * 1024;
export const AREA = 200 * 1024;
export const HEADROOM = 128;

export interface Outgoing {
  readonly fd: number;
  /** None: the socket is connected. */
  readonly to?: Uint8Array;
  readonly segment?: number;
  readonly tos?: number;
  readonly parts: readonly Uint8Array[];
}

export interface Incoming {
  readonly offset: number;
  readonly data: Buffer;
  readonly segment: number;
  readonly tos: number;
  /** The sender's row of the address table. */
  readonly from: Buffer;
}

export class Arena {
  readonly native: Native = loadNative();
  readonly whole = Buffer.from(new SharedArrayBuffer(GUARD + SIZE + GUARD));
  readonly bytes = this.whole.subarray(GUARD, GUARD + SIZE);
  readonly words = new Int32Array(this.whole.buffer, GUARD, SIZE / 4);
  readonly #guard = Buffer.alloc(GUARD, PATTERN);

  constructor() {
    this.whole.fill(PATTERN);
    this.bytes.fill(0);
    this.native.attach(this.bytes);
  }

  /** Fails when a byte before or behind the memory was written. */
  checkGuards(what: string): void {
    const after = this.whole.subarray(GUARD + SIZE);
    assert.ok(
      this.whole.subarray(0, GUARD).equals(this.#guard),
      `${what}: wrote before the memory`,
    );
    assert.ok(after.equals(this.#guard), `${what}: wrote behind the memory`);
  }

  /** Lays out messages, their iovecs and addresses; returns how many iovecs there are. */
  layOut(messages: readonly Outgoing[]): number {
    let iovec = 0;
    let at = PAYLOAD;
    messages.forEach((message, row) => {
      const word = (MESSAGES >> 2) + row * MESSAGE_ROW.words;
      this.words[word + MESSAGE_ROW.fd] = message.fd;
      this.words[word + MESSAGE_ROW.address] = message.to === undefined ? -1 : row;
      this.words[word + MESSAGE_ROW.segment] = message.segment ?? 0;
      this.words[word + MESSAGE_ROW.tos] = message.tos ?? 0;
      this.words[word + MESSAGE_ROW.first] = iovec;
      this.words[word + MESSAGE_ROW.count] = message.parts.length;
      if (message.to !== undefined) this.bytes.set(message.to, ADDRESSES + row * ADDRESS_SIZE);
      for (const part of message.parts) {
        this.#setIovec(iovec, at, part);
        iovec += 1;
        at += part.length;
      }
    });
    assert.ok(at <= AREA, 'the test sends more than the arena holds');
    return iovec;
  }

  /** Sends all rows in one call; returns how many went. */
  send(messages: readonly Outgoing[]): number {
    const iovecs = this.layOut(messages);
    return this.native.udpSend(
      MESSAGES,
      messages.length,
      IOVECS,
      iovecs,
      ADDRESSES,
      messages.length,
    );
  }

  /** What one call receives. Throws when the call gives an errno. */
  receive(fd: number, rows = 64, areaEnd = SIZE): Incoming[] {
    const { native } = this;
    this.words.fill(-1, TABLE >> 2, MESSAGES >> 2); // what a call does not write shows
    const got = native.udpReceive(fd, TABLE, rows, AREA, areaEnd, HEADROOM, ADDRESSES);
    if (got < 0) throw new Error(`udpReceive: ${native.errnoName(-got)}`);
    return Array.from({ length: got }, (_, row) => {
      const at = (TABLE >> 2) + row * DATAGRAM_ROW.words;
      const offset = this.words[at + DATAGRAM_ROW.offset]!;
      const from = ADDRESSES + this.words[at + DATAGRAM_ROW.address]! * ADDRESS_SIZE;
      return {
        offset,
        data: Buffer.from(
          this.bytes.subarray(offset, offset + this.words[at + DATAGRAM_ROW.length]!),
        ),
        segment: this.words[at + DATAGRAM_ROW.segment]!,
        tos: this.words[at + DATAGRAM_ROW.tos]!,
        from: Buffer.from(this.bytes.subarray(from, from + ADDRESS_SIZE)),
      };
    });
  }

  /** Reads packets as from a TUN; each is [vnet header, packet]. The row has the header as well. */
  readPackets(fd: number, vnet: number, rows = 64, areaEnd = SIZE): [Buffer, Buffer][] {
    const { native } = this;
    this.words.fill(-1, TABLE >> 2, MESSAGES >> 2);
    const got = native.tunRead(fd, TABLE, rows, AREA, areaEnd, HEADROOM, vnet, 0, 0, 0);
    if (got < 0) throw new Error(`tunRead: ${native.errnoName(-got)}`);
    return Array.from({ length: got }, (_, row) => {
      const at = (TABLE >> 2) + row * PACKET_ROW.words;
      const offset = this.words[at + PACKET_ROW.offset]!;
      const end = offset + this.words[at + PACKET_ROW.length]!;
      const kept = Buffer.alloc(12);
      this.bytes.copy(kept, 0, offset - vnet, offset);
      const inRow = 4 * (at + PACKET_ROW.vnet);
      assert.deepEqual(Buffer.from(this.bytes.subarray(inRow, inRow + 12)), kept);
      return [
        Buffer.from(this.bytes.subarray(offset - vnet, offset)),
        Buffer.from(this.bytes.subarray(offset, end)),
      ];
    });
  }

  /** Writes packets as to a TUN, each given in pieces; returns how many went. */
  writePackets(fd: number, packets: readonly (readonly Uint8Array[])[]): number {
    let iovec = 0;
    let at = PAYLOAD;
    packets.forEach((parts, row) => {
      const word = (TABLE >> 2) + row * WRITE_ROW.words;
      this.words[word + WRITE_ROW.first] = iovec;
      this.words[word + WRITE_ROW.count] = parts.length;
      for (const part of parts) {
        this.#setIovec(iovec, at, part);
        iovec += 1;
        at += part.length;
      }
    });
    return this.native.tunWrite(fd, TABLE, packets.length, IOVECS, iovec);
  }

  /** Whether `fd` has something to read within `milliseconds`. */
  readable(fd: number, milliseconds = 0): boolean {
    this.words[TABLE >> 2] = fd;
    this.words[(TABLE >> 2) + 1] = 1;
    return this.native.wait(TABLE, 1, milliseconds) > 0;
  }

  #setIovec(row: number, at: number, part: Uint8Array): void {
    const word = (IOVECS >> 2) + row * IOVEC_ROW.words;
    this.words[word + IOVEC_ROW.offset] = at;
    this.words[word + IOVEC_ROW.length] = part.length;
    this.bytes.set(part, at);
  }
}

export function ipv4(address: number, port: number): Uint8Array {
  const row = new Uint8Array(ADDRESS_SIZE);
  socketAddress.writeIpv4(row, 0, address, port);
  return row;
}

/** ::1 */
export function ipv6Loopback(port: number): Uint8Array {
  const row = new Uint8Array(ADDRESS_SIZE);
  row[0] = 10; // AF_INET6
  row[2] = port >>> 8;
  row[3] = port;
  row[8 + 15] = 1;
  return row;
}

/** A socket on the loopback address, and where it listens. */
export function loopbackSocket(native: Native, family: 4 | 6 = 4): [fd: number, at: Uint8Array] {
  const fd = native.udpOpen(family);
  native.udpBind(fd, family === 4 ? ipv4(LOOPBACK, 0) : ipv6Loopback(0));
  const at = new Uint8Array(ADDRESS_SIZE);
  native.udpName(fd, at);
  return [fd, at];
}

/** `length` bytes that differ from place to place, and with `seed`. */
export function pattern(length: number, seed = 0): Buffer {
  const bytes = Buffer.alloc(length);
  for (let i = 0; i < length; i += 1) bytes[i] = (i * 31 + (i >> 8) + seed * 7) & 0xff;
  return bytes;
}

export function openDescriptors(): number {
  return fs.readdirSync('/proc/self/fd').length;
}

/** Numbers from a seed (mulberry32): a run can be repeated. */
export function seeded(seed: number): () => number {
  let state = seed | 0;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let t = Math.imul(state ^ (state >>> 15), 1 | state);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32;
  };
}

/** `count` sockets that are closed after the test. */
export function sockets(t: TestContext, native: Native, count: number, family: 4 | 6 = 4) {
  const made = Array.from({ length: count }, () => loopbackSocket(native, family));
  t.after(() => {
    for (const [fd] of made) native.close(fd);
  });
  return made as [fd: number, at: Uint8Array][];
}
