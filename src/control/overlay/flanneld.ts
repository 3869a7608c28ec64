/**
 * What a real flanneld makes of one entry in etcd, as flanneld 0.28 was seen to do (vxlan, IPv4).
 * weft gets along with all of them. One that flanneld's registry cannot read acts as an empty
 * listing; one that the kernel does not take is tried ten times, and nothing else is done meanwhile.
 */
import { isIP, isIPv6 } from 'node:net';
import { parseMac } from '../../dataplane/wire/ethernet.js';
import { parseAddress } from '../../dataplane/wire/ipv4.js';
import { rawMembers } from '../store/json.js';
import { messageOf } from '../store/store.js';
import type { Backend } from './config.js';
import { isUnicast } from './lease-value.js';
import { keyOf, parseKey, type Subnet } from './subnet.js';

export type Does =
  /** Loses all its peers when the entry is written; `by key`: and again when it is removed. */
  | 'drops all'
  | 'drops all, by key'
  /** Hears of no change any more. */
  | 'stops'
  /** Does nothing else for a minute: when it starts, and whenever the entry changes. */
  | 'stalls'
  /** Leads the packets of the tunnel itself into the tunnel. */
  | 'is cut off'
  /** Sends there what is for other hosts. */
  | 'misdirects'
  /** Has no route to it, or one that leads nowhere. */
  | 'skips'
  /** Sends there, and no harm comes of it to others. */
  | 'takes';

/** What it does, and the clause that says why, of which the lease is the subject. */
export interface Doing {
  readonly does: Does;
  readonly why: string;
}

/** What it uses: a route by its own VTEP's address. */
export interface Used {
  readonly subnet: Subnet;
  /** int32 */
  readonly publicIp: number;
  readonly mac: Uint8Array;
}

/** What it does with an entry that it does not use; undefined for one that is none of its business. */
export function readAsFlanneld(
  key: string,
  text: string,
  backend: Backend['type'],
): Doing | Used | undefined {
  const name = parseKey(key);
  if (name === undefined || (name.ipv6 !== undefined && !isIPv6(addressOf(name.ipv6)))) {
    return { does: 'drops all, by key', why: 'has a name that is no subnet' };
  }
  let members: Members | undefined;
  try {
    members = membersOf(text);
  } catch (error) {
    return { does: 'drops all', why: `has a value that is not JSON (${messageOf(error)})` };
  }
  if (members === undefined) {
    // Go takes null for a value without members.
    if (text.trim() === 'null') return undefined;
    return { does: 'drops all', why: 'has a value that is no JSON object' };
  }
  const unread = unreadable(members);
  if (unread !== undefined) return { does: 'drops all', why: unread };
  if (backend !== 'vxlan') return undefined;
  const type = last(members, 'BackendType');
  if (type !== '"vxlan"') {
    // Without a type it is kept for a host that is to come.
    if (type === undefined || type === '""' || type === 'null') return undefined;
    return { does: 'skips', why: `has the BackendType ${type}, not "vxlan"` };
  }
  return ofVxlan(key, name, members);
}

/** Members by their names in lower case, each with all texts of its values, as they come. */
type Members = ReadonlyMap<string, readonly string[]>;

/** Throws a JsonError for what is not JSON; undefined for what is no object. */
function membersOf(text: string): Members | undefined {
  const all = rawMembers(text);
  if (all === undefined) return undefined;
  const members = new Map<string, string[]>();
  for (const { name, text: value } of all) {
    const known = members.get(name.toLowerCase()) ?? [];
    members.set(name.toLowerCase(), [...known, value]);
  }
  return members;
}

function last(members: Members, name: string): string | undefined {
  return members.get(name.toLowerCase())?.at(-1);
}

/** What Go's types do not take; each of several by one name counts. */
const FORMS: Readonly<Record<string, (text: string) => boolean>> = {
  PublicIP: (text) => isIPv4(bare(text)),
  PublicIPv6: (text) => text === 'null' || isIP(bare(text)) !== 0,
  BackendType: isStringOrNull,
};

function unreadable(members: Members): string | undefined {
  for (const [name, fits] of Object.entries(FORMS)) {
    const wrong = members.get(name.toLowerCase())?.find((text) => !fits(text));
    if (wrong !== undefined) return `has the ${name} ${wrong}, which cannot be read`;
  }
  return undefined;
}

function ofVxlan(
  key: string,
  { subnet, ipv6 }: { readonly subnet: Subnet; readonly ipv6: string | undefined },
  members: Members,
): Doing | Used {
  const data = last(members, 'BackendData');
  const noMac = 'has no VTEP address (VtepMAC) in its BackendData';
  if (data === undefined) return { does: 'skips', why: 'has no BackendData' };
  if (data === 'null') return { does: 'stalls', why: noMac };
  const inside = membersOf(data);
  if (inside === undefined) return { does: 'skips', why: 'has a BackendData that is no object' };
  const vni = inside.get('vni')?.find((one) => one !== 'null' && !isUint32(one));
  if (vni !== undefined) return { does: 'skips', why: `has the VNI ${vni}, which cannot be read` };
  const macs = inside.get('vtepmac') ?? [];
  const bad = macs.find((one) => !one.startsWith('"') || !isGoMac(bare(one)));
  if (bad !== undefined) return { does: 'skips', why: `has the VtepMAC ${bad}, no MAC address` };
  if (ipv6 !== undefined) return { does: 'stops', why: `is dual-stack (${ipv6})` };
  const mac = parseMac(bare(macs.at(-1) ?? ''));
  if (macs.length === 0) return { does: 'stalls', why: noMac };
  if (mac === undefined || !isUnicast(mac)) {
    return { does: 'stalls', why: `has the VtepMAC ${macs.at(-1)}, which is no host's` };
  }
  const isMasked = keyOf(subnet) === /\d+\.\d+\.\d+\.\d+-\d+$/.exec(key)?.[0];
  if (!isMasked || subnet.length === 0) {
    return { does: 'stalls', why: `has a name that is not that of a network (${keyOf(subnet)})` };
  }
  const publicIp = parseAddress(bare(last(members, 'PublicIP') ?? ''));
  if (publicIp === undefined) return { does: 'skips', why: 'has no PublicIP' };
  return { subnet, publicIp, mac };
}

/** As Go's `bytes.Trim` takes the quotes away. */
function bare(text: string): string {
  return text.replace(/^"+|"+$/g, '');
}

function addressOf(prefix: string): string {
  return prefix.slice(0, prefix.lastIndexOf('/'));
}

function isIPv4(text: string): boolean {
  return (
    parseAddress(text) !== undefined || (isIPv6(text) && /^(?:0*:)*:?ffff:[\d.]+$/i.test(text))
  );
}

function isStringOrNull(text: string): boolean {
  return text === 'null' || text.startsWith('"');
}

function isUint32(text: string): boolean {
  return /^\d+$/.test(text) && Number(text) <= 0xffff_ffff;
}

/** Go takes EUI-64 and InfiniBand addresses, too. */
function isGoMac(text: string): boolean {
  if (parseMac(text) !== undefined) return true;
  return (
    /^[\da-f]{2}(?:([:-])[\da-f]{2})(?:\1[\da-f]{2}){6}$/i.test(text) ||
    /^[\da-f]{2}(?:([:-])[\da-f]{2})(?:\1[\da-f]{2}){18}$/i.test(text) ||
    /^[\da-f]{4}(?:\.[\da-f]{4}){3}$/i.test(text)
  );
}

/** Members of the network config that flanneld reads and weft does not, or reads otherwise. */
const CONFIG_FORMS: Readonly<Record<string, (text: string) => boolean>> = {
  Network: isCidr,
  SubnetMin: (text) => isIPv4(bare(text)),
  SubnetMax: (text) => isIPv4(bare(text)),
  IPv6Network: isCidr,
  IPv6SubnetMin: (text) => text === 'null' || isIP(bare(text)) !== 0,
  IPv6SubnetMax: (text) => text === 'null' || isIP(bare(text)) !== 0,
  IPv6SubnetLen: (text) => text === 'null' || /^\d+$/.test(text),
};

function isCidr(text: string): boolean {
  const [address = '', length = '', ...more] = bare(text).split('/');
  const version = isIP(address);
  return (
    more.length === 0 &&
    version !== 0 &&
    /^\d{1,3}$/.test(length) &&
    Number(length) <= (version === 4 ? 32 : 128)
  );
}

export interface ConfigProblem {
  /** A clause of which the config is the subject. */
  readonly why: string;
  /** A text that both take. */
  readonly better: string;
}

/** Why flanneld refuses a config that weft takes; undefined when it takes it, too. */
export function configProblem(text: string): ConfigProblem | undefined {
  const members = rawMembers(text) ?? [];
  const formOf = (name: string) => {
    const known = Object.keys(CONFIG_FORMS).find((one) => one.toLowerCase() === name.toLowerCase());
    return known === undefined ? undefined : CONFIG_FORMS[known];
  };
  const wrong = members.filter((one) => formOf(one.name)?.(one.text) === false);
  const [first] = wrong;
  if (first === undefined) return undefined;
  const rest = members.filter((one) => !wrong.includes(one));
  const better = rest.map((one) => `${JSON.stringify(one.name)}:${one.text}`).join(',');
  return {
    why: `has the ${first.name} ${first.text}, which flanneld cannot read`,
    better: `{${better}}`,
  };
}
