/**
 * The TUN `flannel.<VNI>` that the daemon opened: MTU, queue, address, up.
 *
 * `configure` compares first and changes only what differs, so that the daemon can call it again
 * and again to repair what others did (an address flushed by systemd-networkd, a link set down).
 */
import { HostError, textOf } from './errors.js';
import type { Ip } from './ip.js';
import { contains, type Prefix, parsePrefix } from './ipv4.js';
import { keepSysctl, ofDevice } from './sysctls.js';

/** Packets that wait for a lane. The kernel's default for a TUN, 500, is less than one burst. */
const QUEUE_LENGTH = 5000;

export interface DeviceConfig {
  /** `flannel.1`. */
  name: string;
  /** Bytes of an inner IP packet: the underlay's MTU − 50. */
  mtu: number;
  /** The network address of this host's subnet, `10.5.52.0`; it is put on as a /32. */
  address: string;
  /** The overlay's whole network, `10.5.0.0/16`: addresses inside it are weft's to remove. */
  network: string;
  /**
   * Packets of peers whose subnets the kernel routes by another device may come in here, as those
   * do that are routed directly and do not do so themselves.
   */
  anySource?: boolean;
  /** The device's, once known: another one of that name is not touched. */
  index?: number | undefined;
}

export interface Configured {
  index: number;
  /** One phrase for each thing that was not as wanted and is now. Empty: nothing was touched. */
  changed: string[];
}

/**
 * Brings the device into the configured state. Addresses inside `network` other than ours are
 * removed (left from an earlier lease), others stay (somebody else put them there).
 *
 * Throws a HostError: ENODEV when there is no such device, EIP when `ip` refuses a change.
 */
export async function configure(ip: Ip, wanted: DeviceConfig, proc = '/proc'): Promise<Configured> {
  const link = await show(ip, wanted);
  // Before the link is up: the first router solicitation leaves at once.
  const settings = keepSettings(wanted, proc);

  const network = parsePrefix(wanted.network);
  const changed: string[] = [];
  const lines: string[] = [];
  const change = (line: string, what: string) => {
    lines.push(line);
    changed.push(what);
  };
  const device = `dev ${wanted.name}`;

  if (link.mtu !== wanted.mtu) {
    change(`link set ${device} mtu ${wanted.mtu}`, `MTU ${wanted.mtu} (was ${link.mtu})`);
  }
  if (link.txqlen !== QUEUE_LENGTH) {
    change(`link set ${device} txqueuelen ${QUEUE_LENGTH}`, `queue length ${QUEUE_LENGTH}`);
  }
  let present = false;
  for (const { family, local, prefixlen, address, scope = 'global' } of link.addr_info ?? []) {
    if (family !== 'inet' || local === undefined) continue;
    // With another scope this host would send by the tunnel from an address of the underlay.
    const whole = prefixlen === 32 && address === undefined && scope === 'global';
    if (local === wanted.address && whole) present = true;
    else if (isStale(local, network)) {
      // With a peer address, the prefix length belongs to the peer.
      const peer = address === undefined ? '' : ` peer ${address}`;
      const removed = `${local}${peer}/${prefixlen}`;
      change(`addr del ${removed} ${device}`, `address ${removed} removed`);
    }
  }
  if (!present) {
    change(`addr add ${wanted.address}/32 ${device}`, `address ${wanted.address}/32`);
  }
  if (!link.flags.includes('UP')) change(`link set ${device} up`, 'up');
  // Of one that weft holds open: the kernel then drops all that is sent by it.
  if (wanted.index !== undefined && link.flags.includes('NO-CARRIER')) {
    change(`link set ${device} carrier on`, 'carrier on');
  }

  const failures = await ip.change(lines);
  const failed = failures[0];
  if (failed !== undefined) {
    ip.restart();
    throw new HostError('EIP', `cannot set up ${wanted.name}: ip ${failed.line}: ${failed.reason}`);
  }
  // A device loses its settings for IPv6 while its MTU is too small for that.
  if (lines.length > 0) keepSettings(wanted, proc);
  return { index: link.ifindex, changed: [...changed, ...settings] };
}

/**
 * The kernel's settings for the TUN, each the device's own, which goes away with it. What is not to
 * be written here stays as it is, and is said by who looks for it (`daemon/forwarding`).
 *
 * Forwarding: what other hosts send to containers comes in here (see forwarding.ts).
 *
 * No IPv6: weft carries IPv4, so whatever the kernel said there by itself (router solicitations, MLD
 * reports) would only be dropped and counted in the lane. `disable_ipv6` is preferred to flannel's
 * `accept_ra=0` alone, which refuses answers but still asks; `accept_ra` is set as well for who
 * enables IPv6 there later.
 *
 * `rp_filter` needs nothing where all peers are reached by the tunnel: with one route per remote
 * subnet, the source of every inner packet from a known peer (its containers, and its `.0` address)
 * is routed back to the TUN, which is what the strict check asks for.
 */
function keepSettings({ name, anySource = false }: DeviceConfig, proc: string): string[] {
  const settings: [key: string, value: string, what: string][] = [
    [ofDevice(name, 'forwarding'), '1', 'IPv4 forwarding on'],
    [ofDevice(name, 'disable_ipv6', 'ipv6'), '1', 'IPv6 off'],
    [ofDevice(name, 'accept_ra', 'ipv6'), '0', 'accept_ra 0'],
  ];
  if (anySource) settings.push([ofDevice(name, 'rp_filter'), '2', 'rp_filter 2']);
  return settings.flatMap(([key, value, what]) => (keepSysctl(key, value, proc) ? [what] : []));
}

/** A row of `ip -j addr show`, as far as it is read here. */
interface LinkRow {
  ifname: string;
  ifindex: number;
  mtu: number;
  txqlen?: number;
  flags: string[];
  addr_info?: AddressRow[];
}

interface AddressRow {
  family?: string;
  local?: string;
  prefixlen: number;
  /** Of the other end, where it was given. */
  address?: string;
  scope?: string;
}

async function show(ip: Ip, { name, index }: DeviceConfig): Promise<LinkRow> {
  let row = await look(ip, name);
  if (row === undefined) {
    // The child remembers the index of a device that has since been made anew: ask a fresh one.
    ip.restart();
    row = await look(ip, name);
  }
  if (row === undefined) throw new HostError('ENODEV', `the device ${name} does not exist`);
  if (index !== undefined && row.ifindex !== index) {
    throw new HostError('ENODEV', `the device ${name} is not the one that weft made`);
  }
  return row;
}

async function look(ip: Ip, name: string): Promise<LinkRow | undefined> {
  try {
    const rows = (await ip.query(`addr show dev ${name}`)) as LinkRow[];
    // Old versions of `ip` print an empty object for each link they leave out.
    return rows.find((row) => row.ifname === name);
  } catch (error) {
    if (/does not exist|Cannot find device|No such device/.test(textOf(error))) return undefined;
    throw error;
  }
}

function isStale(local: string, network: Prefix | null): boolean {
  const address = parsePrefix(local);
  return address !== null && network !== null && contains(network, address);
}
