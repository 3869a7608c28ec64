/** What every capture reader gives, whatever the file's format. */

/** One captured packet. */
export interface CaptureRecord {
  /** Counted from 1, as tcpdump and tshark count. */
  readonly number: number;
  /** Time of capture: seconds since 1970 and microseconds, as the file has them. */
  readonly seconds: number;
  readonly microseconds: number;
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
  /** LINKTYPE_* number of the records (https://www.tcpdump.org/linktypes.html). */
  readonly linkType: number;
  /** Goes up while `records` is read. */
  readonly odd: OddRecords;
  /**
   * The complete records in file order. Throws a CaptureError behind the last of them when
   * the file ends inside a record or a record's length cannot be true. One pass only.
   */
  records(): Generator<CaptureRecord, void, undefined>;
  close(): void;
}

/** The file is not what it should be; the message names the file, what is wrong and a way out. */
export class CaptureError extends Error {
  override readonly name = 'CaptureError';
}
