/**
 * The devices that packets pass, as they are just now: the underlay's, and the bridge that containers
 * are behind. What weft's own device should be, the daemon's loop sees to.
 */
import fs from 'node:fs';
import { bridgesIn } from '../../control/host/bridges.js';
import { HostError } from '../../control/host/errors.js';
import { formatAddress, parsePrefix } from '../../control/host/ipv4.js';
import { quoted } from '../../control/shell.js';
import type { HostCheck, Subject } from './check.js';
import type { Finding } from './finding.js';
import type { Link } from './probes.js';

const DOCKER = 'docker0';

export class Links implements HostCheck {
  readonly name = 'the devices';
  readonly #cni: string;

  /** `cni`: where a container runtime that takes its bridge from CNI has its configuration. */
  constructor(cni = '/etc/cni/net.d') {
    this.#cni = cni;
  }

  async look(subject: Subject): Promise<readonly Finding[]> {
    const { ask, underlay, subnet, device } = subject;
    const lines = {
      underlay: `addr show dev ${underlay.interface}`,
      bridges: `addr show to ${subnet}`,
      docker: `addr show dev ${DOCKER}`,
    };
    const answers = await ask(Object.values(lines));
    const linksOf = (line: string) => {
      const rows = answers.get(line);
      return (typeof rows === 'string' || rows === undefined ? [] : rows) as readonly Link[];
    };
    const [uplink] = linksOf(lines.underlay).filter((link) => link.ifname === underlay.interface);
    if (typeof answers.get(lines.bridges) === 'string') {
      throw new HostError('EIP', `ip ${lines.bridges}: ${answers.get(lines.bridges)}`);
    }
    const links = linksOf(lines.bridges);
    const names = bridgesIn(links, device ?? undefined);
    const bridges = links.filter(({ ifname = '' }) => names.includes(ifname));
    const [docker] = linksOf(lines.docker).filter(({ ifname }) => ifname === DOCKER);
    return [
      ...judgeUnderlay(uplink, underlay.interface),
      ...bridges.flatMap((bridge) => judgeBridge(bridge, subject)),
      ...(bridges.length > 0 || docker === undefined ? [] : this.#judgeDocker(docker, subject)),
    ];
  }

  /** Where CNI makes the bridge, it comes with the first pod, and docker0 has no part in it. */
  #judgeDocker({ addr_info = [] }: Link, { subnet, mtu }: Subject): Finding[] {
    const own = addr_info.find(({ local = '' }) => local.includes('.'));
    if (own === undefined || holdsFiles(this.#cni)) return [];
    return [
      {
        code: 'docker-bridge',
        severity: 'warning',
        scope: 'host',
        about: DOCKER,
        text:
          `${DOCKER} is ${own.local}/${own.prefixlen}, not in this host's subnet ${subnet}, so its ` +
          'containers are not in the overlay: dockerd was started without --bip, or before weft',
        cure:
          `start dockerd with --bip=${gatewayOf(subnet)} --mtu=${mtu} (weft docker-opts writes them): ` +
          'systemctl restart docker',
      },
    ];
  }
}

/** Gone: the loop tells that the address is. */
function judgeUnderlay(link: Link | undefined, name: string): Finding[] {
  const { flags, operstate } = link ?? {};
  if (flags === undefined) return [];
  const down: Pick<Finding, 'code' | 'severity' | 'scope' | 'about'> = {
    ...{ code: 'underlay-down', severity: 'error', scope: 'host', about: name },
  };
  const lost = 'nothing passes between this host and others';
  if (!flags.includes('UP')) {
    const text = `the underlay interface ${name} is down: ${lost}`;
    return [{ ...down, text, cure: `ip link set ${quoted(name)} up` }];
  }
  if (!flags.includes('NO-CARRIER') && operstate !== 'DOWN') return [];
  return [
    {
      ...down,
      text: `the underlay interface ${name} has no carrier: ${lost}`,
      cure: `see to the cable, the switch, or what ${name} is made of (ip -d link show ${quoted(name)})`,
    },
  ];
}

function judgeBridge({ ifname = '', flags = [], mtu = 0 }: Link, subject: Subject): Finding[] {
  if (!flags.includes('UP')) {
    return [
      {
        ...{ code: 'bridge-down', severity: 'error', scope: 'host', about: ifname },
        text: `${ifname}, the bridge of this host's containers, is down: they reach nothing`,
        cure: `ip link set ${quoted(ifname)} up`,
      },
    ];
  }
  if (mtu <= subject.mtu) return [];
  const isDocker = ifname === DOCKER;
  return [
    {
      ...{ code: 'bridge-mtu', severity: 'warning', scope: 'host', about: ifname },
      text:
        `${ifname} has MTU ${mtu}, more than the ${subject.mtu} that pass to other hosts: longer ` +
        'packets of containers are cut, or refused and sent again',
      cure: isDocker
        ? `start dockerd with --mtu=${subject.mtu} (weft docker-opts writes it) and the containers anew`
        : `ip link set ${quoted(ifname)} mtu ${subject.mtu}, and start the containers anew`,
    },
  ];
}

/** `10.5.52.1/24` of `10.5.52.0/24`. */
function gatewayOf(subnet: string): string {
  const prefix = parsePrefix(subnet);
  return prefix === null ? subnet : `${formatAddress(prefix.network + 1)}/${prefix.length}`;
}

function holdsFiles(folder: string): boolean {
  try {
    return fs.readdirSync(folder).length > 0;
  } catch {
    return false;
  }
}
