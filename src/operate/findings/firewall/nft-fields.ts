/** What an nft rule reads from a packet: the left side of its matches, as `nft -j` prints it. */
import type { Packet, Truth } from './model.js';
import {
  addressTest,
  deviceHolds,
  holds,
  nameTest,
  type Test,
  unsigned,
  type Value,
  valueTest,
} from './values.js';

export interface Field {
  /** Whether the packet has it at all; where not, no match holds, inverted or not. */
  has(packet: Packet): Truth;
  read(packet: Packet): Value;
  /** From one value of the right side; undefined if it is not understood. */
  test(literal: unknown): Test | undefined;
  /** Whether the value passes; a device may be none. */
  holds(test: Test, packet: Packet, inverted: boolean): Truth;
}

const always = (): Truth => true;
const unknown = (): Value => undefined;

function field(
  read: (packet: Packet) => Value,
  test: Field['test'] = literalTest,
  has: Field['has'] = always,
): Field {
  return {
    has,
    read,
    test,
    holds: (one, packet, inverted) => {
      const truth = holds(one, read(packet));
      return truth === undefined ? undefined : truth !== inverted;
    },
  };
}

function deviceField(read: (packet: Packet) => string | undefined): Field {
  return {
    ...field(read, (literal) => (typeof literal === 'string' ? nameTest(literal, '*') : never)),
    holds: (test, packet, inverted) => deviceHolds(test, read(packet), inverted),
  };
}

/** A device that is gone is a number. */
const never: Test = () => false;
const NOTHING = field(unknown, () => never);
const ABSENT = field(
  unknown,
  () => never,
  () => false,
);

function literalTest(literal: unknown): Test | undefined {
  return typeof literal === 'string' || typeof literal === 'number'
    ? valueTest(literal)
    : undefined;
}

const addressLiteral = (literal: unknown) =>
  typeof literal === 'string' ? addressTest(literal) : undefined;

const PROTOCOLS: Readonly<Record<number, string>> = { 6: 'tcp', 17: 'udp' };
const protocolLiteral = (literal: unknown) =>
  typeof literal === 'number' ? valueTest(PROTOCOLS[literal] ?? literal) : literalTest(literal);
const named = (literal: unknown) => (typeof literal === 'string' ? valueTest(literal) : undefined);

const PROTOCOL = field(({ protocol }) => protocol, protocolLiteral);

const META: Readonly<Record<string, Field>> = {
  iifname: deviceField((packet) => packet.in),
  iif: deviceField((packet) => packet.in),
  oifname: deviceField((packet) => packet.out),
  oif: deviceField((packet) => packet.out),
  l4proto: PROTOCOL,
  nfproto: field(() => 'ipv4', named),
  protocol: field(() => 'ip', named),
  mark: field(({ mark }) => mark),
  pkttype: field(
    () => 'host',
    (literal) => named(literal === 'unicast' ? 'host' : literal),
  ),
};

const IP: Readonly<Record<string, Field>> = {
  saddr: field(({ source }) => unsigned(source), addressLiteral),
  daddr: field(({ destination }) => unsigned(destination), addressLiteral),
  protocol: PROTOCOL,
};

/** Headers that our packets have, beside those of TCP and UDP. */
const PRESENT = ['ip', 'ether', 'th', 'ih', 'll', 'nh'];

/** One field, as `{"meta": {"key": "iifname"}}`; null if it is not understood. */
export function fieldOf(left: unknown): Field {
  const { meta, payload, ct, fib, '&': masked } = (left ?? {}) as Left;
  if (meta !== undefined) return META[meta.key ?? ''] ?? NOTHING;
  if (payload !== undefined) return payloadField(payload.protocol, payload.field);
  if (ct?.key === 'direction') {
    return field(({ state }) => (state === 'new' ? 'original' : undefined), named);
  }
  if (ct?.key === 'state') return field(({ state }) => state, named);
  if (fib !== undefined) return fibField(fib);
  if (masked !== undefined) return maskedField(masked);
  return NOTHING;
}

interface Left {
  readonly meta?: { readonly key?: string };
  readonly payload?: { readonly protocol?: string; readonly field?: string };
  readonly ct?: { readonly key?: string };
  readonly fib?: { readonly result?: string; readonly flags?: unknown };
  readonly '&'?: readonly unknown[];
}

function payloadField(protocol: string | undefined, name: string | undefined): Field {
  // What is read at an offset, without a header's name, may be any of it.
  if (protocol === undefined) return NOTHING;
  if (protocol === 'ip') return IP[name ?? ''] ?? NOTHING;
  if (protocol === 'ether') return name === 'type' ? field(() => 'ip', named) : NOTHING;
  const isTransport = protocol === 'th' || protocol === 'udp' || protocol === 'tcp';
  if (!isTransport) return PRESENT.includes(protocol) ? NOTHING : ABSENT;
  const has = (packet: Packet) => protocol === 'th' || packet.protocol === protocol;
  if (name === 'sport') return field(({ sourcePort }) => sourcePort, literalTest, has);
  if (name === 'dport') return field(({ destinationPort }) => destinationPort, literalTest, has);
  return { ...NOTHING, has };
}

function fibField({ result, flags }: NonNullable<Left['fib']>): Field {
  const of = Array.isArray(flags) ? (flags as unknown[]) : [flags];
  if (result !== 'type' || of.includes('iif') || of.includes('oif')) return NOTHING;
  const isLocal = (packet: Packet) => (of.includes('daddr') ? packet.isForUs : packet.isFromUs);
  return field((packet) => (isLocal(packet) ? 'local' : 'unicast'), named);
}

function maskedField([left, mask]: readonly unknown[]): Field {
  const inner = fieldOf(left);
  if (typeof mask !== 'number') return { ...NOTHING, has: inner.has };
  const read = (packet: Packet) => {
    const value = inner.read(packet);
    return typeof value === 'number' ? (value & mask) >>> 0 : undefined;
  };
  return field(read, literalTest, inner.has);
}
