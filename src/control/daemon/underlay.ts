/**
 * Follows the underlay: goes along when its interface gets another MTU, or another address in
 * place of the one weft listens on, and waits while there is none.
 *
 * As long as the address is on this host nothing moves, whatever other addresses or default
 * routes there are: peers know this one. When it is gone, the choice is made as at the start, so
 * that what the operator named stays what counts.
 */
import { HostError } from '../host/errors.js';
import {
  chooseInterface,
  findAddress,
  type Interface,
  isLinkLocal,
  listAddresses,
  lookAgain,
  type Selection,
} from '../host/interfaces.js';
import type { Ip } from '../host/ip.js';
import type { Runner } from '../host/runner.js';
import type { Clock, Log } from '../runtime.js';
import type { Movable } from './place.js';
import type { Member } from './reconcile.js';

/** So long an address must be gone before weft takes another: a DHCP client may renew it. */
const SETTLE_MS = 1_000;

export interface UnderlayOptions {
  readonly runner: Runner;
  readonly ip: Ip;
  readonly clock: Clock;
  readonly log: Log;
  /** What the operator said. */
  readonly selection: Selection;
  /** As chosen at the start. */
  readonly chosen: Interface;
  /** The interface with the MTU of what leaves by it. */
  readonly measure: (underlay: Interface) => Promise<Interface>;
  /** The tunnel's MTU on it. Throws a HostError when it is too small. */
  readonly tunnelMtu: (underlay: Interface) => number;
  readonly path: Movable;
  /** The address is on another interface. */
  readonly renamed: (name: string) => void;
  /** The host is reached elsewhere: by another address, if not by another public IP. */
  readonly moved: (publicIp: string) => void;
  /** The tunnel has another MTU. */
  readonly resized: (mtu: number) => Promise<void>;
  /** Wants to look again after so many milliseconds. */
  readonly soon: (ms: number) => void;
}

export class UnderlayWatch implements Member {
  readonly name = 'underlay';
  readonly #options: UnderlayOptions;
  #now: Interface;
  #goneSince: number | undefined;
  #moved = false;

  constructor(options: UnderlayOptions) {
    this.#options = options;
    this.#now = options.chosen;
  }

  get now(): Interface {
    return this.#now;
  }

  /** Whether the address is there, as far as is known. */
  get present(): boolean {
    return this.#goneSince === undefined;
  }

  get isUnsettled(): boolean {
    return this.#moved || !this.present;
  }

  async reconcile(): Promise<string[]> {
    this.#moved = false;
    const next = await this.#find();
    if (next !== undefined) {
      await this.#follow(await this.#options.measure(next));
      this.#goneSince = undefined;
    }
    return [];
  }

  /** Undefined: the address has only just gone. Rejects where there is none to go to. */
  async #find(): Promise<Interface | undefined> {
    const { runner, ip, clock, selection, soon } = this.#options;
    const before = this.#now;
    const { publicIp = '' } = selection;
    const here = (await lookAgain(ip, before)) ?? (await findAddress(runner, before));
    if (here !== undefined) {
      // A public IP that comes to this host, or back to it, is listened on as at a start.
      const arrived = publicIp !== '' && publicIp !== before.address && (await this.#has(publicIp));
      return arrived ? chooseInterface(runner, selection) : here;
    }
    this.#goneSince ??= clock.now();
    const left = this.#goneSince + SETTLE_MS - clock.now();
    if (left > 0) {
      soon(left);
      return undefined;
    }
    const gone = `the underlay address ${before.address} is gone from ${before.carrier ?? before.name}`;
    try {
      const next = await chooseInterface(runner, selection);
      // What a host gives itself for want of an address leads nowhere.
      if (!isLinkLocal(next.address) || isLinkLocal(before.address)) return next;
    } catch (error) {
      if (!(error instanceof HostError)) throw error;
    }
    throw new HostError('EADDRNOTAVAIL', `${gone}; waiting for it or another in its place`);
  }

  async #has(wanted: string): Promise<boolean> {
    const addresses = await listAddresses(this.#options.ip);
    return addresses.some(({ address }) => address === wanted);
  }

  async #follow(next: Interface): Promise<void> {
    const { path, moved, renamed, resized, tunnelMtu, log } = this.#options;
    const before = this.#now;
    const moves = next.address !== before.address || next.vrf !== before.vrf;
    const mtu = tunnelMtu(next);
    const resizes = mtu !== path.place.mtu;
    this.#moved = moves || resizes;
    if (this.#moved) await path.move({ address: next.address, mtu, vrf: next.vrf });
    this.#now = next;

    const did: string[] = [];
    if (next.name !== before.name) {
      renamed(next.name);
      did.push(`${next.name} in place of ${before.name}`);
    }
    if (next.vrf !== before.vrf) did.push(next.vrf ? `in the VRF ${next.vrf}` : 'in no VRF');
    if (next.address !== before.address) {
      did.push(`address ${next.address} (was ${before.address}), moved there`);
    }
    if (moves) moved(next.publicIp);
    if (next.publicIp !== before.publicIp) did.push('the other hosts are told');
    if (next.mtu !== before.mtu) did.push(`MTU ${next.mtu} (was ${before.mtu})`);
    if (resizes) {
      await resized(mtu);
      did.push(`${path.name} has ${mtu}, containers keep theirs until they are started anew`);
    }
    if (did.length > 0) log.warn(`underlay ${next.name}: ${did.join(', ')}`);
  }
}

/** `ens33, address 192.168.56.11, MTU 1500`, and what is unusual. */
export function describeUnderlay(underlay: Interface): string {
  const { name, address, carrier, vrf, mtu, publicIp } = underlay;
  const on = carrier === undefined ? '' : ` (on ${carrier})`;
  const told = publicIp === address ? '' : `, public IP ${publicIp}`;
  const within = vrf === undefined ? '' : `, VRF ${vrf}`;
  return `${name}, address ${address}${on}, MTU ${mtu}${within}${told}`;
}
