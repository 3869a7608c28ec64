/**
 * Links and IPv4 addresses of this host, and the choice of the underlay interface, made as
 * flannel makes it (`-iface`, `-iface-regex`, `-iface-can-reach`, `-public-ip`, default route).
 */
import { type Address, type AddressInfo, readAddress, usableAddresses } from './addresses.js';
import { HostError, textOf } from './errors.js';
import type { Pattern } from './go-pattern.js';
import type { Ip } from './ip.js';
import { rowsOf } from './ip-rows.js';
import { parseAddress } from './ipv4.js';
import type { Runner } from './runner.js';

export interface Link {
  name: string;
  index: number;
  mtu: number;
  addresses: Address[];
  /** Whether it is up and has a carrier. */
  carries: boolean;
  /** The bridge, bond or VRF that it belongs to. */
  master?: string;
}

/** The underlay interface. */
export interface Interface {
  name: string;
  index: number;
  mtu: number;
  /** Dotted text: where weft listens. */
  address: string;
  /** The device that has the address, where that is another one, as `lo` for a routed address. */
  carrier?: string;
  /** The bridge, bond or VRF that the interface belongs to. */
  master?: string;
  /** The VRF that the address is in: sockets there must be bound to it. */
  vrf?: string;
  /** Dotted text: what the lease advertises; differs from `address` behind a NAT. */
  publicIp: string;
}

/** An interface, and what could have been taken on it. */
export interface Choice {
  readonly at: Interface;
  /** Whether the address may go to another host at any time; see `Address`. */
  readonly floating: boolean;
  /** Its other addresses that could be taken, the best first; empty where the address was named. */
  readonly others: readonly Address[];
  /** Those, and the one that was taken. */
  readonly all: readonly Address[];
}

/** What the operator said; all empty means: by the default route. */
export interface Selection {
  /** Names or IPv4 addresses; the first that matches wins. */
  iface?: readonly string[];
  /** Tried after `iface`, against each interface's addresses, then against names, unanchored. */
  ifaceRegex?: readonly Pattern[];
  /** An address: take the interface whose route leads there. Tried last. */
  canReach?: string;
  /** What is advertised; where this host has that address, weft listens on it as well. */
  publicIp?: string;
  /** The address of our own lease, which goes before the others of an interface. */
  leased?: string;
}

/** All links with their IPv4 addresses. Throws a HostError when `ip` cannot tell. */
export async function listLinks(runner: Runner): Promise<Link[]> {
  // Not with -4: that would hide the links without an IPv4 address.
  const all = (await ask(runner, ['addr', 'show'])) as AddressRow[];
  // Old versions of `ip` print an empty object for what they leave out.
  const rows = all.filter((row) => row.ifname !== undefined);
  return rows.map((row) => ({
    name: row.ifname,
    index: row.ifindex,
    mtu: row.mtu,
    carries:
      row.flags === undefined || (row.flags.includes('UP') && !row.flags.includes('NO-CARRIER')),
    ...(row.master === undefined ? {} : { master: row.master }),
    addresses: (row.addr_info ?? []).flatMap(readAddress),
  }));
}

/**
 * Chooses the underlay interface; of several that are asked for, the first that can be used, as
 * flannel does. `publicIp` alone names an interface by its address; beside another selector it is
 * what is advertised, and listened on if this host has it. Throws a HostError whose sentence says what to give instead.
 */
export async function chooseInterface(runner: Runner, selection: Selection): Promise<Interface> {
  return (await chooseAddress(runner, selection)).at;
}

/** The same, with what else there is on that interface. */
export async function chooseAddress(runner: Runner, selection: Selection): Promise<Choice> {
  const choice = await choose(runner, selection);
  return { ...choice, at: await withVrf(runner, choice.at) };
}

async function choose(runner: Runner, selection: Selection): Promise<Choice> {
  const { iface = [], ifaceRegex = [], canReach = '', publicIp = '', leased } = selection;
  if (publicIp !== '' && parseAddress(publicIp) === null) {
    throw new HostError('EINVAL', `-public-ip ${publicIp} is not an IPv4 address`);
  }
  if (canReach !== '' && parseAddress(canReach) === null) {
    throw new HostError('EINVAL', `-iface-can-reach ${canReach} is not an IPv4 address`);
  }
  const links = await listLinks(runner);

  const asked: (() => Found | Promise<Found>)[] = [
    ...iface.map((wanted) => () => byNameOrAddress(links, wanted)),
    ...ifaceRegex.map((pattern) => () => byPattern(links, pattern, leased)),
    ...(canReach === '' ? [] : [() => byReach(runner, links, canReach)]),
  ];
  if (asked.length > 0) {
    const reasons: string[] = [];
    for (const find of asked) {
      try {
        return finish(await find(), { publicIp, leased, links });
      } catch (error) {
        if (!(error instanceof HostError)) throw error;
        reasons.push(error.message);
      }
    }
    throw new HostError('ENODEV', `${reasons.join('; ')}; there are: ${describe(links)}`);
  }
  if (publicIp !== '') {
    const link = holderOf(links, publicIp);
    if (link) return finish({ link, address: publicIp }, { publicIp, leased, links });
    throw new HostError(
      'EADDRNOTAVAIL',
      `no interface has the address ${publicIp} of -public-ip; behind a NAT name the interface ` +
        `too, with -iface (there are: ${describe(links)})`,
    );
  }
  return finish(await byDefaultRoute(runner, links), { publicIp, leased, links });
}

/** The interface as it is now. */
export interface Seen {
  readonly here: Interface;
  /** The other addresses of the device that has its address. */
  readonly beside: readonly string[];
}

/**
 * The interface as it is now, asked of the running `ip`; undefined when the address is not where it
 * was (any more), or it is another link by now, which that child would not see.
 */
export async function lookAgain(ip: Ip, known: Interface): Promise<Seen | undefined> {
  const row = await rowOf(ip, known.name);
  const carrier = known.carrier === undefined ? row : await rowOf(ip, known.carrier);
  const addresses = (carrier?.addr_info ?? []).flatMap(({ family, local }) => {
    return family === 'inet' && local !== undefined ? [local] : [];
  });
  const same = row?.ifindex === known.index && row.master === known.master;
  if (!same || !addresses.includes(known.address)) return undefined;
  const beside = addresses.filter((address) => address !== known.address);
  return { here: { ...known, mtu: row.mtu }, beside };
}

async function rowOf(ip: Ip, name: string): Promise<AddressRow | undefined> {
  try {
    const rows = (await ip.query(`addr show dev ${name}`)) as AddressRow[];
    return rows.find(({ ifname }) => ifname === name);
  } catch {
    return undefined;
  }
}

/**
 * Where the address is now, be it on another link than before; undefined when none has it, or with
 * `carrying` when that has no carrier. An interface that never had the address itself stays,
 * wherever the address went.
 */
export async function findAddress(
  runner: Runner,
  known: Interface,
  carrying = false,
): Promise<Interface | undefined> {
  const all = await listLinks(runner);
  const links = carrying ? all.filter((link) => link.carries) : all;
  const holder = holderOf(links, known.address);
  if (holder === undefined) return undefined;
  const named = links.find(({ name }) => name === known.name);
  const link = known.carrier === undefined ? holder : (named ?? holder);
  return withVrf(runner, interfaceOn(link, known.address, known.publicIp, links));
}

/** The interface with its VRF, if its master is one. */
async function withVrf(runner: Runner, found: Interface): Promise<Interface> {
  const { master } = found;
  if (master === undefined) return found;
  const rows = await ask(runner, ['-d', 'link', 'show', 'dev', master]);
  const [row] = rows as { linkinfo?: { info_kind?: string } }[];
  return row?.linkinfo?.info_kind === 'vrf' ? { ...found, vrf: master } : found;
}

/** A link, and the address on it when that was named rather than to be chosen. */
interface Found {
  link: Link;
  address?: string;
  /** What could be taken, the best first; undefined: all addresses of the link. */
  among?: readonly Address[];
}

function byNameOrAddress(links: readonly Link[], wanted: string): Found {
  if (parseAddress(wanted) !== null) {
    const link = holderOf(links, wanted);
    if (link) return { link, address: wanted };
  } else {
    const link = links.find((l) => l.name === wanted);
    if (link) return { link };
  }
  throw new HostError('ENODEV', `no interface matches -iface ${wanted}`);
}

function byPattern(
  links: readonly Link[],
  { text, regex }: Pattern,
  leased: string | undefined,
): Found {
  for (const link of links) {
    const among = usableAddresses(link.addresses, leased).filter(({ address }) => {
      return regex.test(address);
    });
    if (among.length > 0) return { link, among };
  }
  const link = links.find((l) => regex.test(l.name));
  if (link) return { link };
  throw new HostError('ENODEV', `no interface matches -iface-regex ${text}`);
}

async function byReach(runner: Runner, links: readonly Link[], target: string): Promise<Found> {
  let route: RouteRow | undefined;
  let why = '';
  try {
    [route] = (await ask(runner, ['-4', 'route', 'get', target])) as RouteRow[];
  } catch (error) {
    // A network without a route is the program's failure, too.
    why = ` (${textOf(error)})`;
  }
  if (route?.type === 'local') {
    throw new HostError(
      'EINVAL',
      `-iface-can-reach ${target} is an address of this host; give that of another, or this one ` +
        'with -iface',
    );
  }
  const link = links.find((l) => l.name === route?.dev);
  if (!link)
    throw new HostError('EHOSTUNREACH', `no route leads to -iface-can-reach ${target}${why}`);
  return route?.prefsrc === undefined ? { link } : { link, address: route.prefsrc };
}

/** The first IPv4 default route in the kernel's order, as flannel takes it; a multipath's first hop. */
async function byDefaultRoute(runner: Runner, links: readonly Link[]): Promise<Found> {
  const rows = (await ask(runner, ['-4', 'route', 'show', 'default'])) as RouteRow[];
  for (const row of rows) {
    // An `unreachable default` has neither.
    const device = row.dev ?? row.nexthops?.[0]?.dev;
    const link = links.find((l) => l.name === device);
    if (link) return { link };
  }
  throw new HostError(
    'ENETUNREACH',
    'there is no IPv4 default route to find the underlay interface by; name one with -iface ' +
      `(there are: ${describe(links)})`,
  );
}

interface Around {
  publicIp: string;
  leased: string | undefined;
  links: readonly Link[];
}

function finish({ link, ...found }: Found, { publicIp, leased, links }: Around): Choice {
  const here = publicIp !== '' && holderOf(links, publicIp) !== undefined;
  const usable = found.among ?? usableAddresses(link.addresses, leased);
  const named = here ? publicIp : found.address;
  const own = named ?? usable[0]?.address;
  if (own === undefined) {
    throw new HostError(
      'EADDRNOTAVAIL',
      `the interface ${link.name} has no IPv4 address; give it one, or name another with -iface`,
    );
  }
  if (link.mtu === 0) {
    throw new HostError(
      'EINVAL',
      `the interface ${link.name} has MTU 0; set one (ip link set ${link.name} mtu 1500), ` +
        'or name another with -iface',
    );
  }
  const taken = link.addresses.find(({ address }) => address === own);
  return {
    at: interfaceOn(link, own, publicIp === '' ? own : publicIp, links),
    floating: taken?.floating === true,
    others: named === undefined ? usable.slice(1) : [],
    all: usable,
  };
}

/** The link, and where the address is if not there. */
function interfaceOn(
  link: Link,
  address: string,
  publicIp: string,
  links: readonly Link[],
): Interface {
  const { name, index, mtu, master } = link;
  const of = master === undefined ? {} : { master };
  const found = { name, index, mtu, ...of, address, publicIp };
  if (holderOf([link], address) !== undefined) return found;
  const carrier = holderOf(links, address)?.name;
  return carrier === undefined ? found : { ...found, carrier };
}

function holderOf(links: readonly Link[], address: string): Link | undefined {
  return links.find(({ addresses }) => addresses.some((one) => one.address === address));
}

/** `eth0 (192.168.64.3), eth1 (no IPv4 address)`, without the loopback device. */
function describe(links: readonly Link[]): string {
  const named = links
    .filter((l) => l.name !== 'lo')
    .map((l) => `${l.name} (${l.addresses.map((a) => a.address).join(', ') || 'no IPv4 address'})`);
  return named.join(', ') || 'none but lo';
}

interface AddressRow {
  ifname: string;
  ifindex: number;
  mtu: number;
  flags?: string[];
  master?: string;
  addr_info?: AddressInfo[];
}

interface RouteRow {
  type?: string;
  dev?: string;
  prefsrc?: string;
  nexthops?: { dev?: string }[];
}

/** Runs `ip -j …` and returns its rows. */
async function ask(runner: Runner, args: readonly string[]): Promise<unknown[]> {
  const argv = ['ip', '-j', ...args];
  return rowsOf(argv, await runner.run(argv));
}
