/**
 * The status socket of a daemon, which does without where it cannot be made, with a warning:
 * packets matter more. What took it away, or kept it from being made, is made good by the loop.
 */
import { StatusSocket } from '../../operate/status/socket.js';
import type { Answer } from '../../operate/status/status.js';
import { errnoOf, HostError } from '../host/errors.js';
import { namespaceNumber, readHostId } from '../host/host-id.js';
import { messageOf } from '../store/store.js';
import type { Host } from './host.js';
import type { Member } from './reconcile.js';

export class NamedStatus implements Member {
  readonly name = 'the status socket';
  readonly kind = { code: 'status-socket', severity: 'warning' } as const;
  readonly #make: () => StatusSocket;
  #socket: StatusSocket | undefined;
  /** The device whose journal is ours. */
  #device: string | undefined;
  /** Whether the socket has its name. */
  #named = false;

  constructor(answer: () => Answer, { pid, folder, proc }: Pick<Host, 'pid' | 'folder' | 'proc'>) {
    const namespace = namespaceNumber(readHostId(proc) ?? '') || undefined;
    this.#make = () => new StatusSocket(answer, pid, folder, namespace);
  }

  /** Is to have the name of a device whose journal is ours. */
  take(device: string): void {
    this.#device = device;
    this.#named = false;
  }

  /** Makes it, and gives it its name, where it is not so. Rejects with a HostError. */
  async reconcile(): Promise<string[]> {
    try {
      const made = this.#socket?.there !== true;
      if (made) await this.#open();
      if (!this.#named && this.#device !== undefined) {
        this.#socket!.rename(this.#device);
        this.#named = true;
        return made ? [`made the status socket of ${this.#device}`] : [];
      }
      return [];
    } catch (error) {
      throw new HostError(
        errnoOf(error),
        `no status socket, weft status will not work: ${messageOf(error)}`,
      );
    }
  }

  close(): void {
    this.#socket?.close();
  }

  async #open(): Promise<void> {
    this.#socket?.close();
    this.#named = false;
    this.#socket = this.#make();
    await this.#socket.open();
  }
}
