/**
 * ICMP echo on the underlay, of a given size and not to be fragmented on its way: the only user of
 * the npm package raw-socket, which is optional and needs CAP_NET_RAW.
 *
 * The packets are whole IPv4 packets of ours (IP_HDRINCL), so that DF is set while the kernel
 * still believes nothing that ICMP says of them (IP_PMTUDISC_INTERFACE): with IP_PMTUDISC_PROBE a
 * forged message would lower the path MTU of this host's other sockets for ten minutes.
 *
 * The socket hears all echo replies and "unreachable" of this host. So many are looked at a
 * second and no more; then it is left unread until the second is over, and the kernel drops what
 * its buffer does not hold. An echo that had no answer meanwhile tells nothing.
 */
import type { RawSockets, Socket } from 'raw-socket';
import type { Clock, Random } from '../runtime.js';
import { textOf } from './errors.js';
import {
  type EchoMark,
  FRAGMENTATION_NEEDED,
  type Heard,
  LEAST_ECHO,
  quoteOf,
  readIcmp,
  writeEcho,
} from './icmp-echo.js';
import { formatAddress } from './ipv4.js';

export type EchoResult =
  | { readonly kind: 'answered' }
  /** It did not fit on the way: the MTU told (0: none), and who told it, dotted. */
  | { readonly kind: 'too big'; readonly mtu: number; readonly from: string }
  /** Somebody on the way, dotted, says by ICMP "unreachable" of this code that it cannot get there. */
  | { readonly kind: 'unreachable'; readonly code: number; readonly from: string }
  | { readonly kind: 'silent' }
  /** Nothing was learnt, and why. */
  | { readonly kind: 'cannot'; readonly why: string };

/** What is used of a raw socket of the package. */
export type RawSocket = Pick<
  Socket,
  'on' | 'send' | 'setOption' | 'pauseRecv' | 'resumeRecv' | 'close'
>;

/** Opens a raw ICMP socket. Rejects without the package or without the right. */
export type OpenRaw = (bufferSize: number) => Promise<RawSocket>;

export interface EchoOptions {
  readonly clock: Clock;
  readonly random: Random;
  /** Our own address on the underlay just now, an unsigned number. */
  readonly source: () => number;
  /** UDP port of VXLAN, the same on every host. */
  readonly port: number;
  /** The interface that the socket is bound to (a VRF); any unless told. */
  readonly device?: string | undefined;
  /** Somebody says that a VXLAN packet of ours to this address did not fit: it may be forged. */
  readonly hint: (address: number) => void;
}

/** Enough for the headers of all that is looked at; the rest of a message is cut off. */
const BUFFER = 256;
const PROTOCOL_ICMP = 1;

const SOL_IP = 0;
const IP_HDRINCL = 3;
const IP_MTU_DISCOVER = 10;
const IP_PMTUDISC_INTERFACE = 4;
const SOL_SOCKET = 1;
const SO_BINDTODEVICE = 25;
const SOL_RAW = 255;
const ICMP_FILTER = 1;
/** Bits of the types that do not come: all but echo reply (0) and unreachable (3). */
const OTHER_TYPES = 0xffff_fff6;

/** Messages looked at in a second. */
export const LOOKED_AT = 500;
const SECOND_MS = 1000;

/** The kernel's words for EMSGSIZE. */
const TOO_LONG = /message too long/i;
export const LARGER_THAN_DEVICE = 'larger than the device';

interface Pending {
  readonly to: number;
  readonly mark: EchoMark;
  readonly quote: Buffer;
  readonly settle: (result: EchoResult) => void;
}

export class Echo {
  readonly #options: EchoOptions;
  readonly #socket: RawSocket;
  /** By sequence. */
  readonly #pending = new Map<number, Pending>();
  #sequence: number;
  /** Messages of the second that began at `#second`. */
  #second = 0;
  #looked = 0;
  /** How often messages were left unread. */
  #overruns = 0;
  #resume = () => {};
  #closed = '';

  private constructor(options: EchoOptions, socket: RawSocket) {
    this.#options = options;
    this.#socket = socket;
    this.#sequence = bits(options.random, 16);
    socket.on('message', (message) => this.#hear(message));
    socket.on('error', (error) => this.#failed(textOf(error)));
  }

  /** Rejects with what is missing, in words. */
  static async open(options: EchoOptions, openRaw: OpenRaw = openRawSocket): Promise<Echo> {
    const socket = await openRaw(BUFFER);
    try {
      socket.setOption(SOL_RAW, ICMP_FILTER, OTHER_TYPES);
      socket.setOption(SOL_IP, IP_HDRINCL, 1);
      socket.setOption(SOL_IP, IP_MTU_DISCOVER, IP_PMTUDISC_INTERFACE);
      if (options.device !== undefined) {
        const name = Buffer.from(`${options.device}\0`);
        socket.setOption(SOL_SOCKET, SO_BINDTODEVICE, name, name.length);
      }
    } catch (error) {
      // Without the right the package falls back to a socket that has no such options.
      socket.on('error', () => {});
      socket.close();
      throw new Error(`raw sockets are not allowed here (${textOf(error)}); CAP_NET_RAW is needed`);
    }
    return new Echo(options, socket);
  }

  /** Asks `to` (unsigned) by a packet of `size` bytes, headers included; waits `ms` at most. */
  send(to: number, size: number, ms: number): Promise<EchoResult> {
    if (this.#closed !== '') return Promise.resolve({ kind: 'cannot', why: this.#closed });
    const { clock, random, source } = this.#options;
    const sequence = this.#freeSequence();
    const token = [bits(random, 32), bits(random, 32)] as const;
    const mark = { id: bits(random, 16), sequence, token };
    const packet = writeEcho(source(), to, Math.max(size, LEAST_ECHO), mark);
    const overruns = this.#overruns;
    return new Promise((resolve) => {
      const settle = (result: EchoResult): void => {
        cancel();
        this.#pending.delete(sequence);
        resolve(result);
      };
      const cancel = clock.after(ms, () => {
        if (this.#overruns === overruns) settle({ kind: 'silent' });
        else settle({ kind: 'cannot', why: 'too much ICMP arrives to look at all of it' });
      });
      this.#pending.set(sequence, { to, mark, quote: quoteOf(packet), settle });
      this.#socket.send(packet, 0, packet.length, formatAddress(to), (error) => {
        if (error === null) return;
        const text = textOf(error);
        settle({ kind: 'cannot', why: TOO_LONG.test(text) ? LARGER_THAN_DEVICE : text });
      });
    });
  }

  /** Why nothing can be asked any more; empty while it can. */
  get closed(): string {
    return this.#closed;
  }

  close(): void {
    if (this.#closed !== '') return;
    this.#end('closed');
    this.#socket.close();
  }

  #failed(why: string): void {
    // A read that found nothing after all.
    if (this.#closed !== '' || /temporarily unavailable/i.test(why)) return;
    this.#end(why);
    // The package leaves one open that cannot be read.
    this.#socket.close();
  }

  #end(why: string): void {
    this.#closed = why;
    this.#resume();
    for (const { settle } of [...this.#pending.values()]) settle({ kind: 'cannot', why });
  }

  #hear(message: Buffer): void {
    if (!this.#mayLook()) return;
    const heard = readIcmp(message);
    if (heard !== undefined) this.#take(heard);
  }

  #take(heard: Heard): void {
    const { port, hint, source } = this.#options;
    switch (heard.kind) {
      case 'datagram too big':
        if (heard.source === source() && heard.port === port) hint(heard.destination);
        return;
      case 'answer': {
        const asked = this.#pending.get(heard.mark.sequence);
        if (asked === undefined || heard.from !== asked.to) return;
        if (sameMark(heard.mark, asked.mark)) asked.settle({ kind: 'answered' });
        return;
      }
      case 'echo not carried': {
        const asked = this.#pending.get(heard.quoted.readUInt16BE(6));
        if (asked === undefined || heard.destination !== asked.to) return;
        if (heard.source !== source() || !heard.quoted.equals(asked.quote)) return;
        const { code, mtu } = heard;
        const from = formatAddress(heard.from);
        const tooBig = code === FRAGMENTATION_NEEDED;
        asked.settle(tooBig ? { kind: 'too big', mtu, from } : { kind: 'unreachable', code, from });
      }
    }
  }

  /** Counts a message; when there are too many, stops reading until the second is over. */
  #mayLook(): boolean {
    const { clock } = this.#options;
    const now = clock.now();
    if (now - this.#second >= SECOND_MS) {
      this.#second = now;
      this.#looked = 0;
    }
    this.#looked += 1;
    if (this.#looked < LOOKED_AT) return true;
    if (this.#looked > LOOKED_AT) return false;
    this.#overruns += 1;
    this.#socket.pauseRecv();
    const cancel = clock.after(this.#second + SECOND_MS - now, () => {
      this.#resume = () => {};
      this.#socket.resumeRecv();
    });
    this.#resume = cancel;
    return true;
  }

  #freeSequence(): number {
    do {
      this.#sequence = (this.#sequence + 1) & 0xffff;
    } while (this.#pending.has(this.#sequence));
    return this.#sequence;
  }
}

let rawSockets: Promise<RawSockets | undefined> | undefined;

/** Loads the optional package, once: before weft is ready, so that it is of the build that runs. */
export function loadRawSockets(): Promise<RawSockets | undefined> {
  rawSockets ??= import('raw-socket').then(
    (module) => module.default,
    () => undefined,
  );
  return rawSockets;
}

async function openRawSocket(bufferSize: number): Promise<RawSocket> {
  const raw = await loadRawSockets();
  if (raw === undefined) {
    throw new Error(
      'the optional npm package raw-socket is not there, or could not be built (it needs make, ' +
        "g++, python3 and Node's headers)",
    );
  }
  try {
    return raw.createSocket({ protocol: PROTOCOL_ICMP, bufferSize });
  } catch (error) {
    throw new Error(`raw sockets are not allowed here (${textOf(error)}); CAP_NET_RAW is needed`);
  }
}

function bits(random: Random, count: 16 | 32): number {
  return Math.floor(random() * 2 ** count);
}

function sameMark(a: EchoMark, b: EchoMark): boolean {
  return a.id === b.id && a.token[0] === b.token[0] && a.token[1] === b.token[1];
}
