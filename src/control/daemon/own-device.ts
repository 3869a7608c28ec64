/** weft's own TUN: opened, set up as it is to be, made anew when somebody took it away. */
import type { TakenSuperPackets } from '../../dataplane/io/probe-writes.js';
import type { Tier } from '../../dataplane/io/tiers.js';
import type { OpenTun } from '../../dataplane/io/tun.js';
import { configure, type DeviceConfig } from '../host/device.js';
import { HostError } from '../host/errors.js';
import type { Ip } from '../host/ip.js';
import type { Journal } from '../host/journal.js';
import type { Host } from './host.js';
import { openDevice } from './open.js';

export interface OwnDeviceOptions {
  readonly name: string;
  readonly tier: Tier;
  readonly host: Pick<Host, 'io' | 'proc'>;
  readonly ip: Ip;
  readonly journal: Pick<Journal, 'record' | 'forget'>;
}

/** What the TUN is to have, as `configure` wants it. */
export type DeviceSetup = Omit<DeviceConfig, 'name' | 'index'>;

interface Opened {
  readonly tun: OpenTun;
  readonly takes: TakenSuperPackets;
  /** Known once it was set up for the first time. */
  index?: number;
}

export class OwnDevice {
  readonly #options: OwnDeviceOptions;
  #opened: Opened | undefined;

  constructor(options: OwnDeviceOptions) {
    this.#options = options;
  }

  /** The one that is open. */
  get tun(): OpenTun | undefined {
    return this.#opened?.tun;
  }

  /** Which super-packets may be written to it. */
  get takes(): TakenSuperPackets {
    return this.#opened?.takes ?? { tcp: false, udp: false };
  }

  /** Takes one that was just opened, and is still down. */
  take(tun: OpenTun): void {
    this.#opened = { tun, takes: this.#options.host.io.superPacketsTaken(tun) };
  }

  /** Puts it right; a phrase for each change. Throws a HostError, for which `isGone` may hold. */
  async configure(setup: DeviceSetup): Promise<string[]> {
    const { ip, name, host } = this.#options;
    const opened = this.#opened;
    const { index, changed } = await configure(
      ip,
      { ...setup, name, index: opened?.index },
      host.proc,
    );
    if (opened !== undefined) opened.index = index;
    return changed;
  }

  /**
   * The TUN there is, or where that is gone a new one with so many queues, set up. `check` is
   * called before a new one is opened, and may throw.
   */
  async setUp(setup: DeviceSetup, queues: number, check: () => void): Promise<OpenTun> {
    const { host, journal, name, tier } = this.#options;
    const opened = this.#opened;
    if (opened === undefined || !(await this.#isThere(setup))) {
      this.drop();
      check();
      this.take(openDevice(host, name, tier, queues));
      await this.configure(setup);
    }
    const { tun, index } = this.#opened!;
    journal.record({ kind: 'device', name, index: index! });
    return tun;
  }

  /** Lets the TUN go; harmless where there is none. */
  drop(): void {
    const { host, journal, name } = this.#options;
    if (this.#opened === undefined) return;
    host.io.closeTun(this.#opened.tun);
    this.#opened = undefined;
    journal.forget({ kind: 'device', name });
  }

  async #isThere(setup: DeviceSetup): Promise<boolean> {
    try {
      await this.configure(setup);
      return true;
    } catch (error) {
      if (!isGone(error)) throw error;
      return false;
    }
  }
}

/** Whether the device that was to be set up is none of ours any more. */
export function isGone(error: unknown): boolean {
  return error instanceof HostError && error.code === 'ENODEV';
}
