/** On which side of a host a captured packet was: whether the lane is given it, and from where. */
import type { LocalRoute } from '../../dataplane/routes/peer.js';
import * as ipv4 from '../../dataplane/wire/ipv4.js';
import * as udp from '../../dataplane/wire/udp.js';
import type { Refusal, ReplayHost } from './verdict.js';

export type Side = 'underlay' | 'tun';

const FROM_PEER: Refusal = {
  reason: 'from_peer',
  detail: "from a peer's subnet to ours: it has come out of the tunnel",
};

export class Sides {
  readonly #host: ReplayHost;
  readonly #peers: ReadonlySet<number>;

  constructor(host: ReplayHost) {
    this.#host = host;
    this.#peers = new Set(host.routes.map(({ peer }) => peer.address));
  }

  /**
   * `underlay`: from there, for us; `tun`: to be sent; else why neither. The packet lies at
   * [at, end), which may be less than it says.
   */
  of(bytes: Buffer, at: number, end: number): Side | Refusal {
    const { address } = this.#host;
    // The lane says what is wrong with it; a broken header has no addresses to go by.
    if (ipv4.check(bytes, at, end) !== 0 && !isCut(bytes, at, end)) return 'tun';
    const source = ipv4.source(bytes, at);
    const destination = ipv4.destination(bytes, at);
    const toPort = this.isToPort(bytes, at, end);
    if (destination === address) {
      if (toPort || isPortUnknown(bytes, at, end)) return 'underlay';
      return { reason: 'not_vxlan', detail: `not VXLAN (UDP to port ${this.#host.port})` };
    }
    if (this.inOverlay(source) || this.inOverlay(destination)) {
      return this.#isFromPeer(source, destination) ? FROM_PEER : 'tun';
    }
    if (toPort) {
      const where = ipv4.formatAddress(destination);
      return { reason: 'other_destination', detail: `VXLAN for ${where}, not for us` };
    }
    if (isMartian(destination)) return 'tun';
    const peers = this.#peers.has(source) || this.#peers.has(destination);
    const detail = peers ? 'not VXLAN: underlay' : 'not VXLAN, and outside the overlay';
    return { reason: 'not_vxlan', detail };
  }

  /** Whether it is UDP to the port where VTEPs listen, and not a later fragment of it. */
  isToPort(bytes: Buffer, at: number, end: number): boolean {
    if (at + ipv4.HEADER > end || ipv4.protocol(bytes, at) !== ipv4.UDP) return false;
    const header = ipv4.headerLength(bytes, at);
    const transport = at + header;
    return (
      header >= ipv4.HEADER &&
      !ipv4.isLaterFragment(bytes, at) &&
      transport + udp.HEADER <= end &&
      udp.destinationPort(bytes, transport) === this.#host.port
    );
  }

  inOverlay(address: number): boolean {
    return this.#host.overlay.some((route) => isIn(route, address));
  }

  /** Whether the host has it from a peer already: seen on the TUN or on the bridge behind it. */
  #isFromPeer(source: number, destination: number): boolean {
    const { local, routes } = this.#host;
    return (
      local.some((route) => isIn(route, destination)) &&
      !local.some((route) => isIn(route, source)) &&
      routes.some((route) => isIn(route, source))
    );
  }
}

/** Of UDP: a later fragment, or cut before its ports. */
function isPortUnknown(bytes: Buffer, at: number, end: number): boolean {
  if (ipv4.protocol(bytes, at) !== ipv4.UDP) return false;
  const transport = at + ipv4.headerLength(bytes, at);
  return ipv4.isLaterFragment(bytes, at) || transport + udp.HEADER > end;
}

/** Whether the header is fine and only the record ends too early. */
function isCut(bytes: Buffer, at: number, end: number): boolean {
  return (
    at + ipv4.HEADER <= end &&
    ipv4.version(bytes, at) === 4 &&
    ipv4.headerLength(bytes, at) >= ipv4.HEADER &&
    ipv4.totalLength(bytes, at) > end - at
  );
}

function isIn({ network, length }: LocalRoute, address: number): boolean {
  return length === 0 || (address ^ network) >>> (32 - length) === 0;
}

/** An address that no host has. */
function isMartian(address: number): boolean {
  return (
    ipv4.isMulticast(address) ||
    ipv4.isLoopback(address) ||
    ipv4.isLimitedBroadcast(address) ||
    ipv4.isUnspecified(address)
  );
}
