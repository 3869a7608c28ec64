/**
 * flannel's network config, the JSON text at PREFIX/config, read by flannel's rules: names in
 * any case, unknown names ignored, wrong types an error, prefixes masked.
 */
import { formatAddress, parseAddress } from '../../dataplane/wire/ipv4.js';
import { isObject, JsonError, parseJson, rawMembers } from '../store/json.js';
import { contains, formatSubnet, parseSubnet, type Subnet, sizeOf, subnetOf } from './subnet.js';

export interface Config {
  readonly network: Subnet;
  /** Prefix length of each host's subnet. */
  readonly subnetLength: number;
  /** Network address of the first and of the last subnet that may be leased, int32. */
  readonly subnetMin: number;
  readonly subnetMax: number;
  /** nftables in place of iptables. */
  readonly nftables: boolean;
  readonly backend: Backend;
}

export type Backend = Vxlan | HostGw;

export interface Vxlan {
  readonly type: 'vxlan';
  /** 0 to 2^24-1; 0 is a VNI like any other. */
  readonly vni: number;
  readonly port: number;
  /** MTU of the underlay, the tunnel's is 50 less; undefined = that of the interface. */
  readonly mtu: number | undefined;
  readonly gbp: boolean;
  readonly learning: boolean;
  /** Peers on the underlay interface's own network get a plain route, and no tunnel. */
  readonly directRouting: boolean;
}

/** Every peer gets a plain route; flannel knows no options of it. */
export interface HostGw {
  readonly type: 'host-gw';
}

/** The config cannot be used. */
export class ConfigError extends Error {
  override readonly name = 'ConfigError';
  /**
   * Whether flannel gives up on it; the others it reads again each second until they are
   * mended.
   */
  readonly final: boolean;

  constructor(message: string, final: boolean) {
    super(message);
    this.final = final;
  }
}

const DEFAULT_VNI = 1;
const HIGHEST_VNI = 0xffffff;
const DEFAULT_PORT = 8472;
/** What VXLAN over IPv4 adds, and the smallest MTU of IPv4 (RFC 791). */
const OVERHEAD = 50;
const LEAST_IPV4_MTU = 68;

/** Reads the text of a config; `where` names its place in messages. */
export function parseConfig(text: string, where: string): Config {
  const fail = (message: string): never => {
    throw new ConfigError(`network config ${where}: ${message}`, false);
  };
  const refuse = (message: string): never => {
    throw new ConfigError(`network config ${where}: ${message}`, true);
  };

  const root = readObject(text, fail);
  const fields = new Fields(root, text, '', fail);
  if (!(fields.boolean('EnableIPv4') ?? true) || (fields.boolean('EnableIPv6') ?? false)) {
    // An IPv4-only lease makes flanneld panic on hosts with a dual-stack config.
    refuse('EnableIPv6 is on or EnableIPv4 is off, and weft speaks IPv4 inside the tunnel only');
  }
  return {
    ...readSubnets(fields, fail, refuse),
    nftables: fields.boolean('EnableNFTables') ?? false,
    backend: readBackend(root, text, fail, refuse),
  };
}

type Fail = (message: string) => never;

function readObject(text: string, fail: Fail): Record<string, unknown> {
  if (text.trim() === '') return fail('the value is empty');
  if (text.startsWith('\uFEFF')) {
    return fail(
      'it begins with a byte order mark (BOM); save the text without it and put it again',
    );
  }
  let root: unknown;
  try {
    root = parseJson(text);
  } catch (error) {
    if (!(error instanceof JsonError)) throw error;
    return fail(`it is not JSON: ${error.message}${suspicion(text.charAt(error.offset))}`);
  }
  if (typeof root === 'string') {
    return fail(
      'it is a JSON text inside a string; put it without the outer quotes and backslashes',
    );
  }
  if (!isObject(root))
    return fail('it must be a JSON object, such as {"Network":"10.10.0.0/16", …}');
  return root;
}

/** What the character that does not belong there mostly comes from. */
function suspicion(character: string): string {
  if (/[“”„‟«»‘’]/.test(character)) return ' (a typographic quote; JSON wants ")';
  if (character === '\\') return ' (a backslash, perhaps left over from the shell)';
  return '';
}

function readSubnets(
  fields: Fields,
  fail: Fail,
  refuse: Fail,
): Pick<Config, 'network' | 'subnetLength' | 'subnetMin' | 'subnetMax'> {
  const text =
    fields.text('Network') ?? fail('Network is missing, such as "Network":"10.10.0.0/16"');
  const network =
    parseSubnet(text) ?? fail(`Network "${text}" is not an IPv4 network such as "10.10.0.0/16"`);
  const subnetLength = readSubnetLength(fields, network, fail);
  const size = sizeOf(subnetLength);

  const bound = (name: string, fallback: number): number => {
    const given = fields.text(name);
    if (given === undefined) return fallback;
    const address = parseAddress(given) ?? fail(`${name} "${given}" is not an IPv4 address`);
    if (!contains(network, address)) {
      fail(`${name} ${given} is not in the Network ${formatSubnet(network)}`);
    }
    if (subnetOf(address, subnetLength).address !== address) {
      fail(`${name} ${given} is not the first address of a /${subnetLength}, which is SubnetLen`);
    }
    return address;
  };
  const subnetMin = bound('SubnetMin', (network.address + size) | 0);
  const subnetMax = bound('SubnetMax', (network.address + sizeOf(network.length) - size) | 0);
  if (subnetMin >>> 0 > subnetMax >>> 0) {
    const [min, max] = [formatAddress(subnetMin), formatAddress(subnetMax)];
    refuse(`SubnetMin ${min} is above SubnetMax ${max}, so there is no subnet to lease`);
  }
  return { network, subnetLength, subnetMin, subnetMax };
}

function readSubnetLength(fields: Fields, network: Subnet, fail: Fail): number {
  const given = fields.number('SubnetLen') ?? 0;
  const shown = formatSubnet(network);
  if (given === 0) {
    if (network.length > 28)
      fail(`Network ${shown} is too small; the smallest useful one is a /28`);
    return network.length <= 22 ? 24 : network.length + 2;
  }
  if (!Number.isInteger(given) || given < 0) fail(`SubnetLen ${given} is not a prefix length`);
  if (given > 30) fail(`SubnetLen ${given} is too long; the longest is 30`);
  if (given < network.length + 2) {
    fail(`SubnetLen ${given} leaves room for fewer than four subnets in Network ${shown}`);
  }
  return given;
}

function readBackend(
  root: Record<string, unknown>,
  text: string,
  fail: Fail,
  refuse: Fail,
): Backend {
  const given = member(root, 'Backend');
  if (given === undefined) {
    const config = JSON.stringify({ ...(parseJson(text) as object), Backend: { Type: 'vxlan' } });
    return refuse(
      'Backend is absent, which makes flannel use its udp backend, and weft knows vxlan and ' +
        `host-gw only; if all hosts are to use vxlan, the config is: ${config}`,
    );
  }
  if (given !== null && !isObject(given)) {
    return fail('Backend must be an object, such as "Backend":{"Type":"vxlan"}');
  }
  const backend = given ?? {};
  const raw = rawTexts(text, 'Backend').at(-1) ?? '{}';
  const type = new Fields(backend, raw, 'Backend.', fail).text('Type') ?? '';
  if (type.toLowerCase() === 'host-gw') return { type: 'host-gw' };
  if (type.toLowerCase() !== 'vxlan') {
    return refuse(
      `Backend.Type is "${type}", and weft knows vxlan and host-gw only: "Backend":{"Type":"vxlan"}`,
    );
  }

  const options = new Fields(backend, raw, 'Backend.', refuse);
  const vni = options.number('VNI') ?? DEFAULT_VNI;
  if (!Number.isInteger(vni) || vni < 0 || vni > HIGHEST_VNI) {
    refuse(`Backend.VNI ${vni} is not a whole number of 24 bits (0 to ${HIGHEST_VNI})`);
  }
  const port = options.number('Port') ?? 0;
  if (!Number.isInteger(port) || port < 0 || port > 65535) {
    refuse(`Backend.Port ${port} is not a UDP port (1 to 65535, or 0 for ${DEFAULT_PORT})`);
  }
  const mtu = options.number('MTU') ?? 0;
  const least = LEAST_IPV4_MTU + OVERHEAD;
  if (!Number.isInteger(mtu) || (mtu !== 0 && (mtu < least || mtu > 65535))) {
    refuse(
      `Backend.MTU ${mtu} is not an MTU of the underlay (${least} to 65535, or 0 for that of the ` +
        `interface); the tunnel has ${OVERHEAD} bytes less`,
    );
  }
  return {
    type: 'vxlan',
    vni,
    port: port === 0 ? DEFAULT_PORT : port,
    mtu: mtu === 0 ? undefined : mtu,
    gbp: options.boolean('GBP') ?? false,
    learning: options.boolean('Learning') ?? false,
    directRouting: options.boolean('DirectRouting') ?? false,
  };
}

/** Typed access to an object's members; a wrong type fails, null counts as absent (as in Go). */
class Fields {
  readonly #object: Record<string, unknown>;
  /** Its text. */
  readonly #raw: string;
  readonly #path: string;
  readonly #fail: Fail;

  constructor(object: Record<string, unknown>, raw: string, path: string, fail: Fail) {
    this.#object = object;
    this.#raw = raw;
    this.#path = path;
    this.#fail = fail;
  }

  text(name: string): string | undefined {
    const value = this.#member(name);
    return value === undefined || typeof value === 'string'
      ? value
      : this.#wrong(name, JSON.stringify(value), 'string');
  }

  /**
   * A whole number, written as one: Go takes neither `1.0` nor `1e0` for an integer. Of several by
   * one name each has to be right, and the last that is not null counts.
   */
  number(name: string): number | undefined {
    let last: number | undefined;
    for (const text of rawTexts(this.#raw, name)) {
      if (text === 'null') continue;
      if (!NUMBER.test(text)) this.#wrong(name, text, 'number');
      if (!WHOLE.test(text)) this.#wrong(name, text, 'whole number');
      last = Number(text) || 0;
    }
    return last;
  }

  boolean(name: string): boolean | undefined {
    const value = this.#member(name);
    if (value === undefined || typeof value === 'boolean') return value;
    return this.#wrong(name, JSON.stringify(value), 'boolean (true or false)');
  }

  #member(name: string): unknown {
    return member(this.#object, name) ?? undefined;
  }

  #wrong(name: string, shown: string, wanted: string): never {
    return this.#fail(`${this.#path}${name} is ${shown}, but a ${wanted} is expected`);
  }
}

/** Of texts that are JSON. */
const NUMBER = /^[-\d]/;
const WHOLE = /^-?\d+$/;

/** The texts of the values of all members by a name in any case, as they come. */
function rawTexts(text: string, name: string): string[] {
  const members = rawMembers(text) ?? [];
  return members
    .filter((one) => one.name.toLowerCase() === name.toLowerCase())
    .map((one) => one.text);
}

/** A member by its name in any case; the last of several wins, as in Go. */
function member(object: Record<string, unknown>, name: string): unknown {
  const key = Object.keys(object).findLast((k) => k.toLowerCase() === name.toLowerCase());
  return key === undefined ? undefined : object[key];
}
