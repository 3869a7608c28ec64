/** The network as a running weft knows it: what `weft status --json` printed. */
import { parseSubnet } from '../../control/overlay/subnet.js';
import { isObject } from '../../control/store/json.js';
import { StoreError } from '../../control/store/store.js';
import { ACCEPT } from '../../dataplane/forward/inbound.js';
import type { LocalRoute } from '../../dataplane/routes/peer.js';
import { parseMac } from '../../dataplane/wire/ethernet.js';
import { formatAddress, parseAddress } from '../../dataplane/wire/ipv4.js';
import type { ReplayHost } from '../../operate/capture/verdict.js';
import { routeOf } from './network.js';

/** One host with one of its subnets. */
interface Lease {
  readonly publicIp: number;
  readonly mac: Uint8Array;
  readonly subnet: LocalRoute;
}

export function isStatus(value: unknown): boolean {
  return isObject(value) && ('backend' in value || 'waitingFor' in value);
}

/**
 * The network in a status, seen from the host that told it, or from the peer with this PublicIP.
 * Throws a StoreError that names what is missing.
 *
 * @param name of the file, for messages
 * @param as undefined: the host that told it
 */
export function hostFromStatus(value: unknown, name: string, as: number | undefined): ReplayHost {
  const status = new Reader(name, value);
  if (status.has('waitingFor')) {
    throw new StoreError(`${name}: this weft is starting and knows no network yet`);
  }
  const backend = status.text('backend');
  if (backend !== 'vxlan') {
    throw new StoreError(`${name}: its backend is ${backend}, so there is no VXLAN`);
  }
  const address = status.address('underlay.address');
  const publicIp = status.address('underlay.publicIp');
  const own = leaseOf(status.part('lease'), publicIp);
  const peers = status.list('peers').map((peer) => leaseOf(peer, peer.address('publicIp')));
  const leases = [own, ...peers];

  const isOwn = as === undefined || as === address || as === publicIp;
  const ours = leases.filter((lease) => lease.publicIp === (isOwn ? publicIp : as));
  const [first] = ours;
  if (first === undefined) {
    const known = [...new Set(leases.map((lease) => formatAddress(lease.publicIp)))].join(', ');
    throw new StoreError(
      `${name}: no host has the PublicIP ${formatAddress(as ?? 0)} that -as names; there are: ${known}`,
    );
  }
  const port = status.number('underlay.port');
  const accept = ACCEPT.find((mode) => mode === status.text('accept'));
  return {
    // A host behind address translation gets its datagrams for another address than it tells.
    address: isOwn ? address : first.publicIp,
    mac: first.mac,
    vni: status.number('lease.vni'),
    port,
    mtu: status.number('device.mtu'),
    overlay: leases.map(({ subnet }) => subnet),
    local: ours.map(({ subnet }) => subnet),
    routes: leases
      .filter((lease) => !ours.includes(lease))
      .map(({ subnet, publicIp: to, mac }) => ({ ...subnet, peer: { address: to, port, mac } })),
    ...(isOwn && accept !== undefined && { accept }),
  };
}

function leaseOf(part: Reader, publicIp: number): Lease {
  return { publicIp, mac: part.mac('vtepMac'), subnet: part.subnet('subnet') };
}

/** Reads members by their path, `a.b`; what is not there or of another kind is a StoreError. */
class Reader {
  readonly #name: string;
  readonly #value: unknown;
  readonly #where: string;

  constructor(name: string, value: unknown, where = '') {
    this.#name = name;
    this.#value = value;
    this.#where = where;
  }

  has(path: string): boolean {
    return this.#get(path) !== undefined;
  }

  text(path: string): string {
    const value = this.#get(path);
    return typeof value === 'string' ? value : this.#fail(path, 'text');
  }

  number(path: string): number {
    const value = this.#get(path);
    const isOne = typeof value === 'number' && Number.isInteger(value) && value >= 0;
    return isOne ? value : this.#fail(path, 'number');
  }

  address(path: string): number {
    return parseAddress(this.text(path)) ?? this.#fail(path, 'IPv4 address');
  }

  subnet(path: string): LocalRoute {
    const subnet = parseSubnet(this.text(path));
    return subnet === undefined ? this.#fail(path, 'subnet') : routeOf(subnet);
  }

  mac(path: string): Uint8Array {
    return parseMac(this.text(path)) ?? this.#fail(path, 'MAC address');
  }

  part(path: string): Reader {
    return new Reader(this.#name, this.#get(path), `${this.#where}${path}.`);
  }

  list(path: string): Reader[] {
    const value = this.#get(path);
    const items: unknown[] = Array.isArray(value) ? value : this.#fail(path, 'list');
    return items.map((item, i) => new Reader(this.#name, item, `${this.#where}${path}[${i}].`));
  }

  #get(path: string): unknown {
    return path
      .split('.')
      .reduce<unknown>((at, name) => (isObject(at) ? at[name] : undefined), this.#value);
  }

  #fail(path: string, kind: string): never {
    throw new StoreError(
      `${this.#name}: is no whole status of weft: "${this.#where}${path}" is no ${kind}; ` +
        'take what weft status --json prints',
    );
  }
}
