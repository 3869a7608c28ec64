/**
 * Follows the underlay: goes along when its interface gets another MTU, or another address in
 * place of the one weft listens on, and waits while there is none.
 *
 * As long as the address is on this host nothing moves, whatever other addresses or default
 * routes there are: peers know this one. When it is gone, the choice is made as at the start, so
 * that what the operator named stays what counts. A new address on the same interface is taken
 * after a moment; all else only when the old one stays away, as a makeshift: weft goes back when it
 * is there again.
 */
import { isLinkLocal, listAddresses } from '../host/addresses.js';
import { HostError } from '../host/errors.js';
import {
  type Choice,
  chooseAddress,
  chooseInterface,
  findAddress,
  type Interface,
  lookAgain,
  type Selection,
} from '../host/interfaces.js';
import type { Ip } from '../host/ip.js';
import type { Runner } from '../host/runner.js';
import type { Clock, Log } from '../runtime.js';
import type { Movable } from './place.js';
import type { Kind, Member } from './reconcile.js';

/** So long an address must be gone before weft takes another: a DHCP client may renew it. */
const SETTLE_MS = 1_000;
/**
 * So long before weft takes an address that did not come in place of the lost one, on another
 * interface or the same: every host is told of it, and most losses are shorter. A network service
 * that is restarted, or a DHCP client that asks anew, has its address back within seconds; a port of
 * a switch that runs spanning tree is shut for up to 30 s after its link came up (IEEE 802.1D: 15 s
 * listening, 15 s learning).
 */
export const ELSEWHERE_MS = 30_000;
/** So long the old address must be back before weft returns to it. */
const RETURN_MS = 2_000;

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
  /** The other addresses of the interface when ours was last seen there. */
  #beside: readonly string[] = [];
  /** What would be taken, and since when. */
  #candidate: { readonly address: string; readonly since: number } | undefined;
  /** Where weft belongs, while it is elsewhere as a makeshift. */
  #home: Interface | undefined;

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

  /** At another address the overlay works. */
  get kind(): Kind {
    return { code: 'underlay-lost', severity: this.present ? 'warning' : 'error' };
  }

  get isUnsettled(): boolean {
    return this.#moved || !this.present || this.#home !== undefined;
  }

  async reconcile(): Promise<string[]> {
    this.#moved = false;
    const next = await this.#find();
    if (next === undefined) return [];
    await this.#follow(await this.#options.measure(next));
    this.#goneSince = undefined;
    const home = this.#home;
    if (home === undefined) return [];
    const { name, address } = this.#now;
    throw new HostError(
      'EADDRNOTAVAIL',
      `${isGone(home)}; at ${address} on ${name} until it is back`,
    );
  }

  /** Undefined: the address has only just gone. Rejects where there is none to go to. */
  async #find(): Promise<Interface | undefined> {
    const { runner, ip, selection } = this.#options;
    const before = this.#now;
    const { publicIp = '' } = selection;
    const seen = await lookAgain(ip, before);
    if (seen !== undefined) this.#beside = seen.beside;
    const here = seen?.here ?? (await findAddress(runner, before));
    if (here === undefined) return this.#replace();
    if (this.#home !== undefined) return (await this.#return(this.#home)) ?? here;
    this.#candidate = undefined;
    // A public IP that comes to this host, or back to it, is listened on as at a start.
    const arrived = publicIp !== '' && publicIp !== before.address && (await this.#has(publicIp));
    return arrived ? chooseInterface(runner, selection) : here;
  }

  /** What to take in place of an address that is gone, once it has been so for long enough. */
  async #replace(): Promise<Interface | undefined> {
    const { clock, soon } = this.#options;
    const before = this.#now;
    this.#goneSince ??= clock.now();
    const goneMs = clock.now() - this.#goneSince;
    const next = await this.#choose();
    const inPlace = next !== undefined && this.#isInPlace(next);
    const left = Math.max(
      (inPlace ? SETTLE_MS : ELSEWHERE_MS) - goneMs,
      SETTLE_MS - this.#stoodMs(next?.at),
    );
    if (next !== undefined && left <= 0) {
      if (isHome(next, this.#home)) this.#home = undefined;
      else if (!inPlace && (next.floating || !isSameLink(next.at, before))) this.#home ??= before;
      return next.at;
    }
    soon(goneMs < SETTLE_MS ? SETTLE_MS - goneMs : Math.max(left, SETTLE_MS));
    if (goneMs < SETTLE_MS || inPlace) return undefined;
    const seconds = ELSEWHERE_MS / 1000;
    const what =
      next === undefined
        ? 'waiting for it or another in its place'
        : `waiting ${seconds} s for it before ${next.at.address} on ${next.at.name} is taken`;
    throw new HostError('EADDRNOTAVAIL', `${isGone(before)}; ${what}`);
  }

  /** As at a start; undefined where there is nothing that leads anywhere. */
  async #choose(): Promise<Choice | undefined> {
    const { runner, selection } = this.#options;
    try {
      const next = await chooseAddress(runner, selection);
      // What a host gives itself for want of an address leads nowhere.
      return isLinkLocal(next.at.address) && !isLinkLocal(this.#now.address) ? undefined : next;
    } catch (error) {
      if (!(error instanceof HostError)) throw error;
      return undefined;
    }
  }

  /** Whether it came to the interface when ours went, or no other host is told of it. */
  #isInPlace({ at, floating }: Choice): boolean {
    const before = this.#now;
    if (!isSameLink(at, before)) return false;
    return at.publicIp === before.publicIp || !(floating || this.#beside.includes(at.address));
  }

  /** The way back to `home`; undefined while there is none. */
  async #return(home: Interface): Promise<Interface | undefined> {
    const { runner, soon } = this.#options;
    let back = await findAddress(runner, home, true);
    if (back === undefined) {
      const next = await this.#choose();
      if (next !== undefined && isHome(next, home)) back = next.at;
    }
    const left = RETURN_MS - this.#stoodMs(back);
    if (back === undefined) return undefined;
    if (left > 0) {
      soon(left);
      return undefined;
    }
    this.#home = undefined;
    return back;
  }

  /** How long it has been what would be taken. */
  #stoodMs(next: Interface | undefined): number {
    const now = this.#options.clock.now();
    if (next === undefined) this.#candidate = undefined;
    else if (this.#candidate?.address !== next.address) {
      this.#candidate = { address: next.address, since: now };
    }
    return now - (this.#candidate?.since ?? now);
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

function isGone({ address, carrier, name }: Interface): string {
  return `the underlay address ${address} is gone from ${carrier ?? name}`;
}

function isSameLink(a: Interface, b: Interface): boolean {
  return a.name === b.name || a.index === b.index;
}

/** The same address, or another that the same interface has of its own. */
function isHome({ at, floating }: Choice, home: Interface | undefined): boolean {
  if (home === undefined) return false;
  return at.address === home.address || (at.name === home.name && !floating);
}

/** `ens33, address 192.168.56.11, MTU 1500`, and what is unusual. */
export function describeUnderlay(underlay: Interface): string {
  const { name, address, carrier, vrf, mtu, publicIp } = underlay;
  const on = carrier === undefined ? '' : ` (on ${carrier})`;
  const told = publicIp === address ? '' : `, public IP ${publicIp}`;
  const within = vrf === undefined ? '' : `, VRF ${vrf}`;
  return `${name}, address ${address}${on}, MTU ${mtu}${within}${told}`;
}
