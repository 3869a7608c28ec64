/**
 * The packet pool: preallocated slots of a lane's memory, handed out as offsets while a
 * batch is built and all taken back at once when the batch is gone.
 */
export class PacketPool {
  readonly #start: number;
  readonly #slotSize: number;
  readonly #slots: number;
  #used = 0;
  /** How often a slot was asked for and there was none. */
  exhausted = 0;

  /** @param start byte offset of slot 0 @param slots how many @param slotSize bytes each */
  constructor(start: number, slots: number, slotSize: number) {
    this.#start = start;
    this.#slots = slots;
    this.#slotSize = slotSize;
  }

  /** The offset of a slot that is free, or 0 when all are in use. */
  take(): number {
    if (this.#used === this.#slots) {
      this.exhausted += 1;
      return 0;
    }
    const at = this.#start + this.#used * this.#slotSize;
    this.#used += 1;
    return at;
  }

  /** Takes every slot back; offsets handed out before are void. */
  reset(): void {
    this.#used = 0;
  }

  get inUse(): number {
    return this.#used;
  }

  get free(): number {
    return this.#slots - this.#used;
  }

  get size(): number {
    return this.#slots;
  }
}
