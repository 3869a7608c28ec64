/** Times of pcapng: a 64-bit count of an interface's own units, and a number of seconds added. */
import type { CaptureTime } from './capture.js';

const BILLION = 1_000_000_000n;

export class TimeScale {
  /** Units in a second. */
  readonly #units: bigint;
  readonly #offset: bigint;
  readonly #digits: 6 | 9;

  /**
   * @param resolution as if_tsresol has it: n for units of 10^-n seconds, 128 + n for 2^-n
   * @param offset as if_tsoffset has it: seconds
   */
  constructor(resolution = 6, offset = 0n) {
    const exponent = BigInt(resolution & 0x7f);
    this.#units = (resolution & 0x80) === 0 ? 10n ** exponent : 2n ** exponent;
    this.#offset = offset;
    this.#digits = this.#units <= 1_000_000n ? 6 : 9;
  }

  /** @param high, low the two words of a time, unsigned */
  time(high: number, low: number): CaptureTime {
    const count = (BigInt(high) << 32n) | BigInt(low);
    return {
      seconds: Number(count / this.#units + this.#offset),
      nanoseconds: Number(((count % this.#units) * BILLION) / this.#units),
      digits: this.#digits,
    };
  }
}
