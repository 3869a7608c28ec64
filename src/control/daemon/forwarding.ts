/**
 * Whether the kernel passes packets between this host's containers and other hosts, as a member of
 * the loop. It puts nothing right: what is not weft's own device is the host's.
 */
import { bridgesIn } from '../host/bridges.js';
import { HostError } from '../host/errors.js';
import { type Said, whatDoesNotForward } from '../host/forwarding.js';
import type { Ip } from '../host/ip.js';
import { ofDevice, readSysctl, sysctlCommand } from '../host/sysctls.js';
import type { Kind, Member } from './reconcile.js';

export interface ForwardingOptions {
  readonly ip: Pick<Ip, 'query'>;
  readonly proc: string;
  /** Ours: `10.5.52.0/24`. */
  readonly subnet: string;
  /** weft's own device; undefined with host-gw, which has none. */
  readonly tunnel: string | undefined;
  /** By which device other hosts send to our containers past the tunnel; undefined: they do not. */
  readonly direct: () => string | undefined;
}

export class Forwarding implements Member {
  readonly name = 'IPv4 forwarding';
  readonly #options: ForwardingOptions;
  /** Whether packets are lost just now: as long as no container is there, none has to be forwarded. */
  #loses = true;

  constructor(options: ForwardingOptions) {
    this.#options = options;
  }

  get kind(): Kind {
    return { code: 'forwarding', severity: this.#loses ? 'error' : 'warning' };
  }

  /** Rejects with a HostError as long as something is off; which bridges there are changes. */
  async reconcile(): Promise<readonly string[]> {
    const { ip, proc, subnet, tunnel, direct } = this.#options;
    const underlay = direct();
    const bridges = bridgesIn(await ip.query(`addr show to ${subnet}`), tunnel);
    const ways = { tunnel, bridges, direct: underlay === undefined ? [] : [underlay] };
    const strict = tunnel === undefined || underlay === undefined ? [] : whatIsStrict(tunnel, proc);
    const said = [...whatDoesNotForward(ways, proc), ...strict];
    this.#loses = bridges.length > 0 || strict.length > 0;
    if (said.length === 0) return [];
    const text = said.map((one) => one.text).join('; and ');
    throw new HostError('ENETUNREACH', text, said.map(({ cure }) => cure).join('; '));
  }
}

/**
 * Packets that come through the tunnel from hosts that are routed directly: the strict check wants
 * them from the underlay. It is on where `all` or the device's own is 1 and neither is 2.
 */
function whatIsStrict(tunnel: string, proc: string): Said[] {
  const key = ofDevice(tunnel, 'rp_filter');
  const [all, own] = [ofDevice('all', 'rp_filter'), key].map((one) => readSysctl(one, proc));
  if (own === undefined || Math.max(Number(all ?? 0), Number(own)) !== 1) return [];
  const text =
    `${tunnel} drops packets of hosts that are routed directly and do not do so themselves ` +
    `(rp_filter is strict: /proc/sys/net/ipv4/conf/all is ${all}, ${tunnel} is ${own}), and weft ` +
    'cannot write that here';
  return [{ text, cure: `${sysctlCommand(key, '2')}   (on the host)` }];
}
