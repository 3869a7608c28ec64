/** subnet.env on this host, and that it stays as it is to be. */
import fs from 'node:fs';
import { HostError } from '../host/errors.js';
import type { Journal } from '../host/journal.js';
import { formatSubnetEnv, type SubnetEnv, writeSubnetEnv } from '../overlay/subnet-env.js';
import { messageOf } from '../store/store.js';
import type { Member } from './reconcile.js';

export class SubnetFile implements Member {
  readonly name: string;
  readonly #journal: Pick<Journal, 'record'>;
  #env: SubnetEnv;
  #written = false;

  constructor(file: string, env: SubnetEnv, journal: Pick<Journal, 'record'>) {
    this.name = file;
    this.#env = env;
    this.#journal = journal;
  }

  /** Whether Docker and CNI can read it. */
  get written(): boolean {
    return this.#written;
  }

  /** The tunnel has another MTU: writes it. What fails is tried again by `reconcile`. */
  async changeMtu(mtu: number): Promise<void> {
    this.#env = { ...this.#env, mtu };
    await this.reconcile().catch(() => {});
  }

  /** Writes it, the first time whatever there is. */
  async reconcile(): Promise<string[]> {
    const text = formatSubnetEnv(this.#env);
    if (this.#written && this.#read() === text) return [];
    this.#written = false;
    try {
      this.#journal.record({ kind: 'file', path: this.name, wrote: text });
      writeSubnetEnv(this.name, this.#env);
    } catch (error) {
      const why = messageOf(error);
      throw new HostError('EIO', `cannot write ${this.name}: ${why}; Docker and CNI will miss it`);
    }
    this.#written = true;
    return [`wrote ${this.name}`];
  }

  #read(): string | undefined {
    try {
      return fs.readFileSync(this.name, 'utf8');
    } catch {
      return undefined;
    }
  }
}
