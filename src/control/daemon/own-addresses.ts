/** Keeps those told which addresses this host has who have to know. */
import { type LocalAddress, listAddresses } from '../host/addresses.js';
import type { Ip } from '../host/ip.js';
import type { HostAddress } from '../overlay/admit.js';
import { addressOf } from './open.js';
import type { Member } from './reconcile.js';

export class OwnAddresses implements Member {
  readonly name = 'addresses of this host';
  readonly kind = { code: 'addresses', severity: 'warning' } as const;
  readonly #ip: Ip;
  readonly #tell: (addresses: readonly HostAddress[]) => void;
  #known = '';

  constructor(ip: Ip, tell: (addresses: readonly HostAddress[]) => void) {
    this.#ip = ip;
    this.#tell = tell;
  }

  async reconcile(): Promise<string[]> {
    const found = await listAddresses(this.#ip);
    const text = found.map(({ address, length, device }) => `${address}/${length} ${device}`);
    const now = text.sort().join();
    if (now !== this.#known) this.#tell(found.map(parse));
    this.#known = now;
    return [];
  }
}

function parse({ address, length, device }: LocalAddress) {
  return { address: addressOf(address), length, device };
}
