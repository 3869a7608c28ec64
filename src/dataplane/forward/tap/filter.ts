/** Which packets a lane captures: asked by the main thread as a few words in the ring's header. */
import { LAYOUT } from '../../io/memory.js';
import * as ipv4 from '../../wire/ipv4.js';
import * as udp from '../../wire/udp.js';
import { WANTED } from './ring.js';

/** Addresses are int32. */
export interface CaptureFilter {
  readonly inner: boolean;
  readonly outer: boolean;
  readonly inbound: boolean;
  readonly outbound: boolean;
  /** Only what was dropped; with a `reason` (drops.ts) only for that one. */
  readonly dropsOnly: boolean;
  readonly reason?: number | undefined;
  /** The other end on the underlay. */
  readonly peer?: number | undefined;
  /** One of the inner addresses lies in there. */
  readonly network?: { readonly address: number; readonly length: number } | undefined;
  /** Of the inner packet. */
  readonly protocol?: number | undefined;
  /** One of the ports of inner TCP or UDP. */
  readonly port?: number | undefined;
  /** Bytes kept of each packet. */
  readonly snap: number;
  /** Whether the lane may spend on it only what it is granted. */
  readonly limited: boolean;
}

const ANY = -1;

/** The words, in the order in which `read` takes them. `ownPort`: where the lane sends from. */
export function wordsOf(filter: CaptureFilter, ownPort: number): number[] {
  const { network, peer, limited, snap } = filter;
  const mask = network === undefined || network.length === 0 ? 0 : -1 << (32 - network.length);
  return [
    ...[filter.inner, filter.outer, filter.inbound, filter.outbound, filter.dropsOnly].map(Number),
    ...[filter.reason ?? ANY, Number(peer !== undefined), peer ?? 0],
    ...[mask, (network?.address ?? 0) & mask, filter.protocol ?? ANY, filter.port ?? ANY],
    ...[snap, Number(limited), ownPort],
  ];
}

/** The lane's side. */
export class Filter {
  inner = false;
  outer = false;
  inbound = false;
  outbound = false;
  dropsOnly = false;
  snap = 0;
  limited = false;
  ownPort = 0;
  readonly #bytes: Uint8Array;
  readonly #words: Int32Array;
  #reason = ANY;
  #hasPeer = false;
  #peer = 0;
  #mask = 0;
  #network = 0;
  #protocol = ANY;
  #port = ANY;

  constructor(bytes: Uint8Array, words: Int32Array) {
    this.#bytes = bytes;
    this.#words = words;
  }

  read(): void {
    let at = (LAYOUT.capture >> 2) + WANTED;
    const next = (): number => {
      at += 1;
      return this.#words[at - 1]!;
    };
    this.inner = next() === 1;
    this.outer = next() === 1;
    this.inbound = next() === 1;
    this.outbound = next() === 1;
    this.dropsOnly = next() === 1;
    this.#reason = next();
    this.#hasPeer = next() === 1;
    this.#peer = next();
    this.#mask = next();
    this.#network = next();
    this.#protocol = next();
    this.#port = next();
    this.snap = next();
    this.limited = next() === 1;
    this.ownPort = next();
  }

  /** Whether it takes all packets, whatever is in them. */
  get isOpen(): boolean {
    return !this.#hasPeer && !this.#looksInside;
  }

  takesReason(reason: number): boolean {
    return this.#reason === ANY || this.#reason === reason;
  }

  /** Whether the inner packet at [at, end) is wanted, which may be anything; `peer`: 0 for none. */
  takes(at: number, end: number, peer: number): boolean {
    if (this.#hasPeer && peer !== this.#peer) return false;
    if (!this.#looksInside) return true;
    const bytes = this.#bytes;
    if (end - at < ipv4.HEADER || ipv4.version(bytes, at) !== 4) return false;
    if (
      ((ipv4.source(bytes, at) ^ this.#network) & this.#mask) !== 0 &&
      ((ipv4.destination(bytes, at) ^ this.#network) & this.#mask) !== 0
    ) {
      return false;
    }
    if (this.#protocol !== ANY && ipv4.protocol(bytes, at) !== this.#protocol) return false;
    return this.#port === ANY || this.#hasPort(at, end);
  }

  get #looksInside(): boolean {
    return this.#mask !== 0 || this.#protocol !== ANY || this.#port !== ANY;
  }

  /** TCP's ports lie where UDP's do. */
  #hasPort(at: number, end: number): boolean {
    const bytes = this.#bytes;
    const protocol = ipv4.protocol(bytes, at);
    if (protocol !== ipv4.TCP && protocol !== ipv4.UDP) return false;
    const transport = at + ipv4.headerLength(bytes, at);
    if (ipv4.isLaterFragment(bytes, at) || transport + 4 > end) return false;
    return (
      udp.sourcePort(bytes, transport) === this.#port ||
      udp.destinationPort(bytes, transport) === this.#port
    );
  }
}
