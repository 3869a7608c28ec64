/** What every capture reader gives, whatever the file's format. */

/** The largest record taken, in bytes: what libpcap allows itself as its greatest snap length. */
export const MAX_RECORD = 262_144;

/** When a packet was captured. What is finer than nanoseconds is cut off. */
export interface CaptureTime {
  /** Since 1970. */
  readonly seconds: number;
  /** 0 to 999,999,999. */
  readonly nanoseconds: number;
  /** How many digits of the fraction the file knows: 6 for microseconds and coarser, else 9. */
  readonly digits: 6 | 9;
}

/** One captured packet. */
export interface CaptureRecord {
  /** Counted from 1, as tcpdump and tshark count. */
  readonly number: number;
  /** Undefined where the file has none (Simple Packet Blocks of pcapng). */
  readonly time: CaptureTime | undefined;
  /** LINKTYPE_* number (https://www.tcpdump.org/linktypes.html). */
  readonly linkType: number;
  /** What was captured, link-layer header first. The reader keeps no reference to it. */
  readonly bytes: Buffer;
  /** Length on the wire, in bytes; more than `bytes.length` when the snap length cut it. */
  readonly originalLength: number;
}

/** Records whose lengths contradict each other or the file's header; they are kept and counted. */
export interface OddRecords {
  /** Captured length above the original length: the smaller of the two is kept. */
  longerThanOriginal: number;
  /** Captured length above the file's snap length. */
  longerThanSnapLength: number;
}

/** An open capture file. */
export interface Capture {
  /** That of all records; undefined where each interface of the file has its own (pcapng). */
  readonly linkType: number | undefined;
  /** Goes up while `records` is read. */
  readonly odd: OddRecords;
  /**
   * The complete records in file order. Throws a CaptureError behind the last of them when
   * the file ends inside a record or a length in it cannot be true. One pass only.
   */
  records(): Generator<CaptureRecord, void, undefined>;
  close(): void;
}

/** The file is not what it should be; the message names the file, what is wrong and a way out. */
export class CaptureError extends Error {
  override readonly name = 'CaptureError';
}
