/**
 * The value of a lease, as flannel writes it:
 *
 *     {"PublicIP":"192.168.56.11","PublicIPv6":null,"BackendType":"vxlan",
 *      "BackendData":{"VNI":1,"VtepMAC":"2a:2e:cc:73:34:04"}}
 *
 * (without the line break), or, with the host-gw backend:
 *
 *     {"PublicIP":"192.168.56.11","PublicIPv6":null,"BackendType":"host-gw"}
 *
 * Written byte for byte like that: a value that does not parse makes
 * every running flanneld drop all its peers. Read tolerantly: all but PublicIP may be absent.
 */
import { formatMac, parseMac } from '../../dataplane/wire/ethernet.js';
import { formatAddress, parseAddress } from '../../dataplane/wire/ipv4.js';
import { isObject, parseJson, type RawMember, rawMembers } from '../store/json.js';
import type { Backend } from './config.js';

export interface LeaseValue {
  /** Where the host is reached, int32; also its identity. */
  readonly publicIp: number;
  /** Empty for a reservation (and for flannel's udp and alloc backends). */
  readonly backendType: string;
  /** The VTEP's address, or why there is none that could be used. */
  readonly vtep: { readonly mac: Uint8Array } | { readonly problem: string };
}

/** Ours, of the network's backend; host-gw has no use for the MAC. */
export function ownLeaseValue(backend: Backend, publicIp: number, mac: Uint8Array): string {
  if (backend.type === 'vxlan') return formatLeaseValue(publicIp, backend.vni, mac);
  return JSON.stringify({
    PublicIP: formatAddress(publicIp),
    PublicIPv6: null,
    BackendType: backend.type,
  });
}

export function formatLeaseValue(publicIp: number, vni: number, mac: Uint8Array): string {
  return JSON.stringify({
    PublicIP: formatAddress(publicIp),
    PublicIPv6: null,
    BackendType: 'vxlan',
    BackendData: { VNI: vni, VtepMAC: formatMac(mac) },
  });
}

/** What `formatLeaseValue` writes, and the IPv6 half that an IPv4 host has not. */
const OURS = ['PublicIP', 'PublicIPv6', 'BackendType', 'BackendData', 'BackendV6Data'];
const OURS_INSIDE = ['VNI', 'VtepMAC'];

/**
 * The value with our attributes in the place of those in `before`; the members that weft does not
 * know follow them, as they were written.
 */
export function rewriteLeaseValue(
  before: string,
  publicIp: number,
  vni: number,
  mac: Uint8Array,
): string {
  const plain = formatLeaseValue(publicIp, vni, mac);
  const members = rawMembers(before) ?? [];
  const data = members.findLast(({ name }) => isNamed(name, ['BackendData']))?.text ?? 'null';
  const inside = unknownMembers(rawMembers(data) ?? [], OURS_INSIDE);
  return `${plain.slice(0, -2)}${inside}}${unknownMembers(members, OURS)}}`;
}

function unknownMembers(members: readonly RawMember[], ours: readonly string[]): string {
  return members
    .filter(({ name }) => !isNamed(name, ours))
    .map(({ name, text }) => `,${JSON.stringify(name)}:${text}`)
    .join('');
}

function isNamed(name: string, names: readonly string[]): boolean {
  return names.some((known) => known.toLowerCase() === name.toLowerCase());
}

/** The VTEP's address in a value; undefined where it has none, or cannot be read. */
export function vtepMacIn(text: string): Uint8Array | undefined {
  try {
    const { vtep } = parseLeaseValue(text);
    return 'mac' in vtep ? vtep.mac : undefined;
  } catch {
    return undefined;
  }
}

/** Throws an Error that says what is wrong when it is no lease at all. */
export function parseLeaseValue(text: string): LeaseValue {
  const root = parseJson(text);
  if (!isObject(root)) throw new Error('the value is not a JSON object');
  const ip = member(root, 'PublicIP');
  const publicIp = typeof ip === 'string' ? parseAddress(ip) : undefined;
  if (publicIp === undefined) throw new Error(`PublicIP is ${show(ip)}, not an IPv4 address`);
  const type = member(root, 'BackendType') ?? '';
  if (typeof type !== 'string') throw new Error(`BackendType is ${show(type)}, not a string`);
  return { publicIp, backendType: type, vtep: readVtep(type, member(root, 'BackendData')) };
}

/** Why a lease is of no use to a host of this backend; undefined when it is of use. */
export function backendProblem(
  { backendType, vtep }: LeaseValue,
  ours: Backend['type'],
): string | undefined {
  if (ours === 'vxlan') return 'problem' in vtep ? vtep.problem : undefined;
  return backendType === ours ? undefined : otherBackend(backendType, ours);
}

/** The problem with a lease that an administrator wrote for a host to come, which is no fault. */
export const RESERVATION = 'it has no BackendType (a reservation)';

function otherBackend(type: string, ours: string): string {
  if (type === '') return RESERVATION;
  return `its BackendType is ${show(type)}, not ${show(ours)}`;
}

/**
 * The value with another public IP, all else as it was written. `text` is one that
 * `parseLeaseValue` takes.
 */
export function withPublicIp(text: string, publicIp: number): string {
  return withMember(text, 'PublicIP', () => JSON.stringify(formatAddress(publicIp)));
}

/** The value with another VTEP's address, all else as it was written; where it has none, itself. */
export function withVtepMac(text: string, mac: Uint8Array): string {
  const before = vtepMacIn(text);
  if (before === undefined || Buffer.compare(before, mac) === 0) return text;
  return withMember(text, 'BackendData', (data) => {
    return withMember(data, 'VtepMAC', () => JSON.stringify(formatMac(mac)));
  });
}

function withMember(text: string, wanted: string, change: (value: string) => string): string {
  const members = (rawMembers(text) ?? []).map(({ name, text: value }) => {
    return `${JSON.stringify(name)}:${isNamed(name, [wanted]) ? change(value) : value}`;
  });
  return `{${members.join(',')}}`;
}

function readVtep(type: string, data: unknown): LeaseValue['vtep'] {
  if (type !== 'vxlan') return { problem: otherBackend(type, 'vxlan') };
  if (typeof data === 'string') {
    return { problem: 'its BackendData is a string (base64?), not an object' };
  }
  if (!isObject(data)) return { problem: `its BackendData is ${show(data)}, not an object` };
  const text = member(data, 'VtepMAC');
  const mac = typeof text === 'string' ? parseMac(text) : undefined;
  if (mac === undefined) return { problem: `its VtepMAC is ${show(text)}, not a MAC address` };
  if (!isUnicast(mac)) return { problem: `its VtepMAC ${show(text)} is not a unicast address` };
  return { mac };
}

/** Neither a group address (the I/G bit) nor all zero. */
export function isUnicast(mac: Uint8Array): boolean {
  return ((mac[0] as number) & 1) === 0 && mac.some((byte) => byte !== 0);
}

/** By its name in any case, as Go reads. */
function member(object: Record<string, unknown>, name: string): unknown {
  const key = memberName(object, name);
  return key === undefined ? undefined : object[key];
}

function memberName(object: Record<string, unknown>, name: string): string | undefined {
  return Object.keys(object).findLast((key) => key.toLowerCase() === name.toLowerCase());
}

function show(value: unknown): string {
  return value === undefined ? 'absent' : JSON.stringify(value);
}
