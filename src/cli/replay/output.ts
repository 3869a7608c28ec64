/**
 * Lines to a stream that may be slower than we are: a line is waited for when the stream asks for
 * it, so what nobody has read yet never piles up. Once nobody reads any more, lines go nowhere.
 */
import type { Writable } from 'node:stream';

export class Output {
  readonly #stream: Writable;
  #hasReader = true;

  constructor(stream: Writable) {
    this.#stream = stream;
    const gone = () => {
      this.#hasReader = false;
    };
    stream.once('error', gone);
    stream.once('close', gone);
  }

  async line(text: string): Promise<void> {
    if (!this.#hasReader || this.#stream.write(`${text}\n`)) return;
    await new Promise<void>((resolve) => {
      const go = () => {
        for (const event of EVENTS) this.#stream.off(event, go);
        resolve();
      };
      for (const event of EVENTS) this.#stream.once(event, go);
    });
  }
}

/** Any of them ends the waiting. */
const EVENTS = ['drain', 'error', 'close'] as const;
