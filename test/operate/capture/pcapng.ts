/** pcapng files made by hand, for the tests of this folder: any block, right or wrong. */

/** A block; its length stands where `claims` is not given. */
export interface BlockInput {
  readonly type: number;
  readonly body: Buffer;
  readonly claims?: number;
  readonly claimsAgain?: number;
}

/** Makes words and blocks in one byte order. */
export class Pcapng {
  readonly #bigEndian: boolean;

  constructor(bigEndian: boolean) {
    this.#bigEndian = bigEndian;
  }

  half(...values: number[]): Buffer {
    const bytes = Buffer.alloc(2 * values.length);
    values.forEach((value, i) => {
      if (this.#bigEndian) bytes.writeUInt16BE(value, 2 * i);
      else bytes.writeUInt16LE(value, 2 * i);
    });
    return bytes;
  }

  word(...values: number[]): Buffer {
    const bytes = Buffer.alloc(4 * values.length);
    values.forEach((value, i) => {
      if (this.#bigEndian) bytes.writeUInt32BE(value, 4 * i);
      else bytes.writeUInt32LE(value, 4 * i);
    });
    return bytes;
  }

  long(value: bigint): Buffer {
    const bytes = Buffer.alloc(8);
    if (this.#bigEndian) bytes.writeBigInt64BE(value);
    else bytes.writeBigInt64LE(value);
    return bytes;
  }

  block({ type, body, claims, claimsAgain }: BlockInput): Buffer {
    const length = claims ?? 12 + body.length;
    return Buffer.concat([this.word(type, length), body, this.word(claimsAgain ?? length)]);
  }

  option(code: number, value: Buffer): Buffer {
    return Buffer.concat([this.half(code, value.length), fill(value)]);
  }

  section(major = 1): Buffer {
    const body = Buffer.concat([this.word(0x1a2b3c4d), this.half(major, 2), this.long(-1n)]);
    return this.block({ type: 0x0a0d0d0a, body });
  }

  interface(linkType: number, snapLength = 0, ...options: Buffer[]): Buffer {
    const body = Buffer.concat([this.half(linkType, 0), this.word(snapLength), ...options]);
    return this.block({ type: 1, body });
  }

  /** `captured` and `original` are the length of `bytes` where they are not given. */
  packet(id: number, time: bigint, bytes: Buffer, captured?: number, original?: number): Buffer {
    const [high, low] = [Number(time >> 32n), Number(time & 0xffffffffn)];
    const { length } = bytes;
    const head = this.word(id, high, low, captured ?? length, original ?? length);
    return this.block({ type: 6, body: Buffer.concat([head, fill(bytes)]) });
  }

  simple(bytes: Buffer, original = bytes.length): Buffer {
    return this.block({ type: 3, body: Buffer.concat([this.word(original), fill(bytes)]) });
  }

  old(id: number, time: bigint, bytes: Buffer): Buffer {
    const [high, low] = [Number(time >> 32n), Number(time & 0xffffffffn)];
    const head = [this.half(id, 0), this.word(high, low, bytes.length, bytes.length)];
    return this.block({ type: 2, body: Buffer.concat([...head, fill(bytes)]) });
  }
}

/** Up to a whole word. */
function fill(bytes: Buffer): Buffer {
  return Buffer.concat([bytes, Buffer.alloc((4 - (bytes.length % 4)) % 4)]);
}
