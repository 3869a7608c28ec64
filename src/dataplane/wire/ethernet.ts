/**
 * Ethernet II (IEEE 802.3).
 *
 *    0             6        12     14
 *    | destination | source | type | payload
 *
 * The readers do not look how much there is: HEADER bytes must be. A MAC address is two
 * numbers in the data plane: `high`, its first two bytes, and `low`, its last four as int32.
 */
import { read16, read32, write16 } from './words.js';

export const HEADER = 14;

/** Types. */
export const IPV4 = 0x0800;
export const ARP = 0x0806;
export const VLAN = 0x8100;
export const IPV6 = 0x86dd;
export const QINQ = 0x88a8;

const DESTINATION = 0;
const SOURCE = 6;
const TYPE = 12;

export function destinationHigh(bytes: Uint8Array, at: number): number {
  return read16(bytes, at + DESTINATION);
}

export function destinationLow(bytes: Uint8Array, at: number): number {
  return read32(bytes, at + DESTINATION + 2);
}

export function sourceHigh(bytes: Uint8Array, at: number): number {
  return read16(bytes, at + SOURCE);
}

export function sourceLow(bytes: Uint8Array, at: number): number {
  return read32(bytes, at + SOURCE + 2);
}

/** The EtherType; below 0x0600 it is a length (802.3 with LLC). */
export function type(bytes: Uint8Array, at: number): number {
  return read16(bytes, at + TYPE);
}

/** Whether the address with this `high` is a multicast or the broadcast one (the I/G bit). */
export function isGroup(high: number): boolean {
  return (high & 0x0100) !== 0;
}

export function setType(bytes: Uint8Array, at: number, value: number): void {
  write16(bytes, at + TYPE, value);
}

const MAC_FORMS = [
  /^[0-9a-f]{2}(?::[0-9a-f]{2}){5}$/i,
  /^[0-9a-f]{2}(?:-[0-9a-f]{2}){5}$/i,
  /^[0-9a-f]{4}(?:\.[0-9a-f]{4}){2}$/i,
];

/**
 * A MAC address in one of the three forms flannel's parser takes (Go's net.ParseMAC):
 * `aa:bb:cc:dd:ee:ff`, `aa-bb-cc-dd-ee-ff`, `aabb.ccdd.eeff`. Undefined if it is none, or is
 * not six bytes long.
 */
export function parseMac(text: string): Uint8Array | undefined {
  if (!MAC_FORMS.some((form) => form.test(text))) return undefined;
  const digits = text.replace(/[:.-]/g, '');
  return Uint8Array.from({ length: 6 }, (_, i) =>
    Number.parseInt(digits.slice(2 * i, 2 * i + 2), 16),
  );
}

/** Lower case with colons, as flannel writes it. */
export function formatMac(mac: Uint8Array): string {
  return Array.from(mac, (byte) => byte.toString(16).padStart(2, '0')).join(':');
}
