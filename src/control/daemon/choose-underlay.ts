/**
 * The choice of the underlay interface and address at a start. Where an interface has several
 * addresses, that of our own lease is the one that the other hosts know, and stays it; which one was
 * taken is said, with the flags that decide.
 */
import { formatAddress } from '../../dataplane/wire/ipv4.js';
import { chooseAddress, type Interface, type Selection } from '../host/interfaces.js';
import type { Runner } from '../host/runner.js';
import type { Overlay } from '../overlay/network.js';
import type { Subnet } from '../overlay/subnet.js';
import type { Log } from '../runtime.js';
import { addressOf } from './open.js';

export interface ChooseOptions {
  readonly runner: Runner;
  /** What the operator said. */
  readonly selection: Selection;
  readonly overlay: Pick<Overlay, 'formerAddress'>;
  /** From subnet.env. */
  readonly previousSubnet: Subnet | undefined;
  readonly log: Log;
}

/** Throws a HostError as `chooseInterface` does. */
export async function chooseUnderlay(options: ChooseOptions): Promise<Interface> {
  const { runner, selection, overlay, previousSubnet, log } = options;
  const first = await chooseAddress(runner, selection);
  if (first.others.length === 0) return first.at;
  const candidates = first.all.map(({ address, floating, secondary }) => {
    return { address: addressOf(address), stays: !floating && !secondary };
  });
  const former = await overlay.formerAddress(candidates, previousSubnet);
  const leased = former === undefined ? undefined : formatAddress(former);
  const { at, others } =
    leased === undefined ? first : await chooseAddress(runner, { ...selection, leased });
  const rest = others.map(({ address }) => address);
  const why = at.address === leased ? ', which our lease has' : '';
  log.info(
    `${at.name} has several addresses: taking ${at.address}${why}, not ${rest.join(', ')}; ` +
      '-public-ip or -iface with an address decides otherwise',
  );
  return at;
}
