/**
 * The records of a running weft's lanes, out of the bytes that come from its capture socket in any
 * pieces (their layout: forward/tap/ring.ts).
 */
import {
  COUNT,
  GENERATED,
  INNER,
  KIND_MASK,
  type Missed,
  OF_PEER,
  OUTBOUND,
  OUTER,
  RECORD,
  RECORD_BYTES,
} from '../../dataplane/forward/tap/ring.js';
import { HEADER as VNET } from '../../dataplane/wire/vnet.js';
import { CaptureError, MAX_RECORD } from './capture.js';

/** A packet as a lane saw it. */
export interface LiveRecord {
  /** An inner packet, or the UDP payload of an outer one. */
  readonly isInner: boolean;
  readonly isOutbound: boolean;
  /** Whether the other end is a peer; whether weft itself made the packet. */
  readonly isOfPeer: boolean;
  readonly isGenerated: boolean;
  /** Milliseconds since 1970. */
  readonly time: number;
  /** The number of a drop's reason, 0 for none; and how many of its pieces were dropped. */
  readonly reason: number;
  readonly lost: number;
  /** The other end's, int32, 0 for none; its port; our own, 0 where it is not told. */
  readonly address: number;
  readonly port: number;
  readonly ownPort: number;
  /** Of the outer header. */
  readonly tos: number;
  /** Segments or datagrams that it stands for, and the payload of each; 1 and 0 for a single. */
  readonly pieces: number;
  readonly pieceSize: number;
  /** Bytes of it on its way; `bytes` are those that were kept. */
  readonly length: number;
  readonly bytes: Buffer;
  /** Of an inner packet; else all zeros. */
  readonly vnet: Buffer;
}

const NO_VNET = Buffer.alloc(VNET);

export interface LiveTaker {
  packet(record: LiveRecord): void;
  /** So many were not captured so far. */
  missed(missed: Missed): void;
}

export class LiveRecords {
  readonly #taker: LiveTaker;
  #rest: Buffer = Buffer.alloc(0);

  constructor(taker: LiveTaker) {
    this.#taker = taker;
  }

  /** Takes the next bytes. Throws a CaptureError for what can be no records. */
  take(bytes: Buffer): void {
    const all = this.#rest.length === 0 ? bytes : Buffer.concat([this.#rest, bytes]);
    let at = 0;
    // A filler may be shorter than a record.
    while (at + 8 <= all.length) {
      const size = all.readInt32LE(at + 4 * RECORD.size);
      const kind = all.readInt32LE(at + 4 * RECORD.kind);
      if (size < 8 || size % 8 !== 0 || (kind !== 0 && size < RECORD_BYTES)) throw damaged();
      if (kind !== 0 && size > RECORD_BYTES + MAX_RECORD) throw damaged();
      if (at + size > all.length) break;
      if (kind !== 0) this.#record(all.subarray(at, at + size), kind);
      at += size;
    }
    this.#rest = all.subarray(at);
  }

  #record(record: Buffer, kind: number): void {
    const word = (index: number): number => record.readInt32LE(4 * index);
    const what = kind & KIND_MASK;
    if (what === COUNT) {
      const at = 4 * RECORD.reason;
      this.#taker.missed({ inner: record.readDoubleLE(at), outer: record.readDoubleLE(at + 8) });
      return;
    }
    const captured = word(RECORD.captured);
    if ((what !== INNER && what !== OUTER) || captured < 0) throw damaged();
    if (captured > record.length - RECORD_BYTES) throw damaged();
    const vnetAt = 4 * RECORD.vnet;
    this.#taker.packet({
      isInner: what === INNER,
      isOutbound: (kind & OUTBOUND) !== 0,
      isOfPeer: (kind & OF_PEER) !== 0,
      isGenerated: (kind & GENERATED) !== 0,
      time: record.readDoubleLE(4 * RECORD.time),
      reason: word(RECORD.reason),
      lost: word(RECORD.lost),
      address: word(RECORD.address),
      port: word(RECORD.ports) & 0xffff,
      ownPort: word(RECORD.ports) >>> 16,
      tos: word(RECORD.tos) & 0xff,
      pieces: word(RECORD.pieces),
      pieceSize: word(RECORD.pieceSize),
      length: word(RECORD.length),
      bytes: record.subarray(RECORD_BYTES, RECORD_BYTES + captured),
      vnet: what === INNER ? record.subarray(vnetAt, vnetAt + VNET) : NO_VNET,
    });
  }
}

function damaged(): CaptureError {
  return new CaptureError('what the weft that runs sent is no capture; are both of one build?');
}
