/**
 * The status socket of a daemon, which does without where it cannot be made, with a warning:
 * packets matter more.
 */
import { StatusSocket } from '../../operate/status/socket.js';
import type { Answer } from '../../operate/status/status.js';
import type { Log } from '../runtime.js';
import { messageOf } from '../store/store.js';
import type { Host } from './host.js';

export class NamedStatus {
  readonly #socket: StatusSocket;
  readonly #log: Log;
  #there = false;

  constructor(answer: () => Answer, { pid, folder }: Pick<Host, 'pid' | 'folder'>, log: Log) {
    this.#socket = new StatusSocket(answer, pid, folder);
    this.#log = log;
  }

  async open(): Promise<void> {
    try {
      await this.#socket.open();
      this.#there = true;
    } catch (error) {
      this.#warn(error);
    }
  }

  /** Takes the name of a device whose journal is ours. */
  take(name: string): void {
    try {
      if (this.#there) this.#socket.rename(name);
    } catch (error) {
      this.#warn(error);
    }
  }

  close(): void {
    this.#socket.close();
  }

  #warn(error: unknown): void {
    this.#log.warn(`no status socket, weft status will not work: ${messageOf(error)}`);
  }
}
