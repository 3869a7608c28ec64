/** Saves the network as it is followed, for a start without the store (`saved.ts` has the file). */

import fs from 'node:fs';
import path from 'node:path';
import type { Clock, Fault, Log } from '../runtime.js';
import { quoted } from '../shell.js';
import { type Change, type Entry, type Listener, type Listing, messageOf } from '../store/store.js';
import type { OwnLease } from './acquire.js';
import { type ReadNetwork, readSaved, savedFile, writeSaved } from './saved.js';

export interface SaverOptions {
  /** The folder of the files. */
  readonly directory: string;
  /** The store's `configName`: the network that this is. */
  readonly network: string;
  /** What no other host has, nor this one after a reboot. */
  readonly hostId?: string | undefined;
  readonly clock: Clock;
  readonly log: Log;
}

/** What is saved beside the leases. */
export interface Member {
  /** The text of the network config. */
  readonly config: string;
  /** int32 */
  readonly publicIp: number;
  readonly own: OwnLease;
}

/** So many milliseconds after a change the network is saved. */
const SAVE_AFTER_MS = 1_000;
/** After so many more one that could not be. */
const AGAIN_AFTER_MS = 5_000;

export class Saver implements Listener {
  readonly #options: SaverOptions;
  readonly #file: string;
  /** All leases, as the store has them. */
  readonly #entries = new Map<string, Entry>();
  #member: Member | undefined;
  #cluster: string | undefined;
  #cancelSave: (() => void) | undefined;
  #problem: Fault | undefined;

  constructor(options: SaverOptions) {
    this.#options = options;
    this.#file = savedFile(options.directory, options.network);
  }

  /** What an earlier run saved; undefined for nothing, and, with a warning, for what is no use. */
  read(): ReadNetwork | undefined {
    const { network, log } = this.#options;
    try {
      return readSaved(this.#file, network);
    } catch (error) {
      log.warn(`the saved network ${this.#file} is not used: ${messageOf(error)}`);
      return undefined;
    }
  }

  /** Why the file is not as it is to be; undefined while it is. */
  get problem(): Fault | undefined {
    return this.#problem;
  }

  /** From now on changes are saved. */
  begin(member: Member): void {
    this.#member = member;
  }

  snapshot(listing: Listing): void {
    this.#cluster = listing.cluster;
    this.#entries.clear();
    for (const entry of listing.entries) this.#entries.set(entry.key, entry);
    this.#saveSoon();
  }

  changes(batch: readonly Change[]): void {
    for (const change of batch) {
      if (change.type === 'put') this.#entries.set(change.entry.key, change.entry);
      else this.#entries.delete(change.key);
    }
    this.#saveSoon();
  }

  /** Removes the file: what it says is ours is another's. */
  forget(): void {
    this.#member = undefined;
    this.#cancelSave?.();
    this.#cancelSave = undefined;
    try {
      fs.rmSync(this.#file, { force: true });
      this.#problem = undefined;
    } catch (error) {
      this.#fail(
        `cannot remove ${this.#file}, which a start without etcd would use: ${messageOf(error)}`,
      );
    }
  }

  /** Saves at once what changed last. */
  stop(): void {
    if (this.#cancelSave !== undefined) this.#save();
    this.#member = undefined;
  }

  #saveSoon(afterMs = SAVE_AFTER_MS): void {
    if (this.#member === undefined) return;
    this.#cancelSave ??= this.#options.clock.after(afterMs, () => this.#save());
  }

  #save(): void {
    const { network, hostId } = this.#options;
    this.#cancelSave?.();
    this.#cancelSave = undefined;
    if (this.#member === undefined) return;
    const { config, publicIp, own } = this.#member;
    const entry = this.#entries.get(own.key);
    // Without our key there is nothing to come up from.
    if (entry === undefined) return;
    const { vtepMac } = own;
    const reserved = entry.lease === 0n;
    const leases = [...this.#entries.values()];
    const cluster = this.#cluster;
    const from = { network, config, hostId, cluster, publicIp };
    try {
      writeSaved(this.#file, { ...from, own: entry, reserved, vtepMac, leases });
      this.#problem = undefined;
    } catch (error) {
      this.#fail(
        `cannot save the network in ${this.#file}, a start without etcd will wait: ${messageOf(error)}`,
      );
      this.#saveSoon(AGAIN_AFTER_MS);
    }
  }

  #fail(text: string): void {
    const folder = path.dirname(this.#file);
    const cure = `df -h ${quoted(folder)}; ls -ld ${quoted(folder)}   (is there room, and may weft write there?)`;
    this.#problem = { about: this.#file, text, cure };
  }
}
