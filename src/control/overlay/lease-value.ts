/**
 * The value of a lease, as flannel writes it:
 *
 *     {"PublicIP":"192.168.56.11","PublicIPv6":null,"BackendType":"vxlan",
 *      "BackendData":{"VNI":1,"VtepMAC":"2a:2e:cc:73:34:04"}}
 *
 * (without the line break). Written byte for byte like that: a value that does not parse makes
 * every running flanneld drop all its peers. Read tolerantly: all but PublicIP may be absent.
 */
import { formatMac, parseMac } from '../../dataplane/wire/ethernet.js';
import { formatAddress, parseAddress } from '../../dataplane/wire/ipv4.js';
import { isObject, parseJson } from '../store/json.js';

export interface LeaseValue {
  /** Where the host is reached, int32; also its identity. */
  readonly publicIp: number;
  /** Empty for a reservation (and for flannel's udp and alloc backends). */
  readonly backendType: string;
  /** The VTEP's address, or why there is none that could be used. */
  readonly vtep: { readonly mac: Uint8Array } | { readonly problem: string };
}

export function formatLeaseValue(publicIp: number, vni: number, mac: Uint8Array): string {
  return JSON.stringify({
    PublicIP: formatAddress(publicIp),
    PublicIPv6: null,
    BackendType: 'vxlan',
    BackendData: { VNI: vni, VtepMAC: formatMac(mac) },
  });
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

/** The value with another public IP, all else as it is. `text` is one that `parseLeaseValue` takes. */
export function withPublicIp(text: string, publicIp: number): string {
  const root = parseJson(text) as Record<string, unknown>;
  const name = memberName(root, 'PublicIP') ?? 'PublicIP';
  return JSON.stringify({ ...root, [name]: formatAddress(publicIp) });
}

function readVtep(type: string, data: unknown): LeaseValue['vtep'] {
  if (type === '') return { problem: 'it has no BackendType (a reservation)' };
  if (type !== 'vxlan') return { problem: `its BackendType is ${show(type)}, not "vxlan"` };
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
