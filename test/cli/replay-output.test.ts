import assert from 'node:assert/strict';
import { Writable } from 'node:stream';
import { describe, it } from 'node:test';
import { setImmediate as turn } from 'node:timers/promises';
import { Output } from '../../src/cli/replay/output.js';

/** A stream whose reader takes a chunk when it is told to. */
class Slow extends Writable {
  readonly seen: string[] = [];
  #done: ((error?: Error) => void) | undefined;

  constructor() {
    super({ highWaterMark: 8 });
    this.on('error', () => undefined);
  }

  override _write(chunk: Buffer, _encoding: string, done: (error?: Error) => void): void {
    this.seen.push(chunk.toString());
    this.#done = done;
  }

  take(error?: Error): void {
    const done = this.#done;
    this.#done = undefined;
    done?.(error);
  }
}

/** Whether a promise is fulfilled after all that can happen by itself. */
async function isDone(promise: Promise<unknown>): Promise<boolean> {
  let done = false;
  void promise.then(() => {
    done = true;
  });
  for (let i = 0; i < 5; i += 1) await turn();
  return done;
}

describe('lines to a slow reader', () => {
  it('go on while the stream has room, and wait when it has none', async () => {
    const stream = new Slow();
    const output = new Output(stream);
    assert.equal(await isDone(output.line('a')), true);
    const second = output.line('0123456789');
    assert.equal(await isDone(second), false);
    stream.take();
    assert.equal(await isDone(second), false);
    stream.take();
    assert.equal(await isDone(second), true);
    assert.deepEqual(stream.seen, ['a\n', '0123456789\n']);
    assert.equal(stream.listenerCount('drain'), 0);
  });

  it('go nowhere once the reader has gone', async () => {
    const stream = new Slow();
    const output = new Output(stream);
    const first = output.line('0123456789');
    assert.equal(await isDone(first), false);
    stream.take(new Error('EPIPE'));
    assert.equal(await isDone(first), true);
    assert.equal(await isDone(output.line('more than there is room for')), true);
    assert.deepEqual(stream.seen, ['0123456789\n']);
  });
});
