/** Keeps the overlay told which addresses this host has, since no other host is reached at those. */
import { type LocalAddress, listAddresses } from '../host/addresses.js';
import type { Ip } from '../host/ip.js';
import type { Overlay } from '../overlay/network.js';
import { addressOf } from './open.js';
import type { Member } from './reconcile.js';

export class OwnAddresses implements Member {
  readonly name = 'addresses of this host';
  readonly #ip: Ip;
  readonly #overlay: Pick<Overlay, 'changeAddresses'>;
  #known = '';

  constructor(ip: Ip, overlay: Pick<Overlay, 'changeAddresses'>) {
    this.#ip = ip;
    this.#overlay = overlay;
  }

  async reconcile(): Promise<string[]> {
    const found = await listAddresses(this.#ip);
    const text = found.map(({ address, length, device }) => `${address}/${length} ${device}`);
    const now = text.sort().join();
    if (now !== this.#known) this.#overlay.changeAddresses(found.map(parse));
    this.#known = now;
    return [];
  }
}

function parse({ address, length, device }: LocalAddress) {
  return { address: addressOf(address), length, device };
}
