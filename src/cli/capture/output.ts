/**
 * Where the bytes of a capture go. A pipe is written without waiting for its reader, so that a
 * signal still ends a capture that nobody reads; anything else is written at once.
 */
import fs from 'node:fs';
import net from 'node:net';
import { STDIN as STANDARD } from '../../operate/capture/open.js';

/** Bytes that the reader of a pipe has not taken yet, from which on he is behind. */
const BEHIND = 1024 * 1024;

/** Bytes that are written at once. */
const HELD = 64 * 1024;

export class Output {
  readonly #fd: number;
  readonly #pipe: net.Socket | undefined;
  readonly #failed: (error: NodeJS.ErrnoException) => void;
  #isOver = false;
  /** Not written yet. */
  #held: Uint8Array[] = [];
  #heldBytes = 0;

  /**
   * Opens `file`, `-` for standard output. Throws what the file system says.
   *
   * @param failed called once when no more can be written; EPIPE: nobody reads any more
   * @param drained who was behind has caught up
   */
  constructor(
    file: string,
    failed: (error: NodeJS.ErrnoException) => void,
    drained: () => void = () => {},
  ) {
    // What containers send is not for every user of the host.
    this.#fd = file === STANDARD ? 1 : fs.openSync(file, 'w', 0o600);
    this.#failed = failed;
    const stat = fs.fstatSync(this.#fd);
    if (!stat.isFIFO() && !stat.isSocket()) return;
    this.#pipe = new net.Socket({ fd: this.#fd, readable: false, writable: true });
    this.#pipe.on('error', (error) => this.#fail(error));
    this.#pipe.on('drain', drained);
  }

  /** Whether whoever reads it does not keep up. */
  get isBehind(): boolean {
    return (this.#pipe?.writableLength ?? 0) > BEHIND;
  }

  /** Written together, by the next `flush` at the latest; nobody changes them until then. */
  write(...parts: readonly Uint8Array[]): void {
    if (this.#isOver) return;
    for (const part of parts) {
      this.#held.push(part);
      this.#heldBytes += part.length;
    }
    if (this.#heldBytes >= HELD) this.flush();
  }

  flush(): void {
    if (this.#isOver || this.#heldBytes === 0) return;
    const held = this.#held;
    const length = this.#heldBytes;
    this.#held = [];
    this.#heldBytes = 0;
    if (this.#pipe !== undefined) {
      this.#pipe.write(Buffer.concat(held));
      return;
    }
    try {
      const written = fs.writevSync(this.#fd, held);
      if (written === length) return;
      // A disk that has just become full takes a part, and then says why.
      const rest = Buffer.concat(held).subarray(written);
      for (let at = 0; at < rest.length; ) at += fs.writeSync(this.#fd, rest, at);
    } catch (error) {
      this.#fail(error as NodeJS.ErrnoException);
    }
  }

  /** Resolves when all is written, or cannot be. */
  async close(): Promise<void> {
    this.flush();
    const isOpen = !this.#isOver;
    this.#isOver = true;
    if (this.#pipe === undefined) {
      if (this.#fd !== 1) fs.closeSync(this.#fd);
    } else if (isOpen) {
      await new Promise<void>((resolve) => {
        this.#pipe!.once('close', () => resolve()).end(() => this.#pipe!.destroy());
      });
    }
  }

  /** What was not written is lost. */
  abandon(): void {
    this.#isOver = true;
    this.#pipe?.destroy();
  }

  #fail(error: NodeJS.ErrnoException): void {
    if (this.#isOver) return;
    this.#isOver = true;
    this.#failed(error);
  }
}
