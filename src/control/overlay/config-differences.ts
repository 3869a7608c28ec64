/** In what two network configs differ. */
import { formatAddress } from '../../dataplane/wire/ipv4.js';
import type { Backend, Config, Vxlan } from './config.js';
import { formatSubnet } from './subnet.js';

export interface Difference {
  /** `Backend.VNI is 2, here 1`. */
  readonly text: string;
  /** Whether hosts with the one and hosts with the other may not reach each other. */
  readonly parts: boolean;
}

/** `here` is in force on this host, `now` what a start would take. */
export function differences(here: Config, now: Config): Difference[] {
  const found = [
    compare('Network', formatSubnet(here.network), formatSubnet(now.network), true),
    // In another Network they are others in any case.
    ...(sameNetwork(here, now) ? ofSubnets(here, now) : []),
    compare('EnableNFTables', here.nftables, now.nftables),
    compare('Backend.Type', here.backend.type, now.backend.type, true),
    ...ofBackend(here.backend, now.backend),
  ];
  return found.filter((one) => one !== undefined);
}

function sameNetwork(here: Config, now: Config): boolean {
  return formatSubnet(here.network) === formatSubnet(now.network);
}

/** A host with another of these takes its subnet elsewhere, and is reached all the same. */
function ofSubnets(here: Config, now: Config): (Difference | undefined)[] {
  return [
    compare('SubnetLen', here.subnetLength, now.subnetLength),
    compare('SubnetMin', formatAddress(here.subnetMin), formatAddress(now.subnetMin)),
    compare('SubnetMax', formatAddress(here.subnetMax), formatAddress(now.subnetMax)),
  ];
}

function ofBackend(here: Backend, now: Backend): (Difference | undefined)[] {
  if (here.type !== 'vxlan' || now.type !== 'vxlan') return [];
  return [
    compare('Backend.VNI', here.vni, now.vni, true),
    compare('Backend.Port', here.port, now.port, true),
    // The larger ones' full packets do not get to the smaller ones.
    compare('Backend.MTU', mtuOf(here), mtuOf(now), true),
    compare('Backend.DirectRouting', here.directRouting, now.directRouting),
    compare('Backend.GBP', here.gbp, now.gbp),
    compare('Backend.Learning', here.learning, now.learning),
  ];
}

function mtuOf({ mtu }: Vxlan): string {
  return mtu === undefined ? "the interface's" : String(mtu);
}

function compare<T extends string | number | boolean>(
  name: string,
  here: T,
  now: T,
  parts = false,
): Difference | undefined {
  if (here === now) return undefined;
  return { text: `${name} is ${now}, here ${here}`, parts };
}
