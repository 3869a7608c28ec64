/** IPv4 addresses and prefixes as the `ip` program writes them. */

/** `network` is a host-order unsigned 32-bit number, `length` 0 to 32. */
export interface Prefix {
  network: number;
  length: number;
}

const DOTTED = /^(\d{1,3})\.(\d{1,3})\.(\d{1,3})\.(\d{1,3})$/;

/** The unsigned 32-bit number of a dotted address, or null if `text` is none. */
export function parseAddress(text: string): number | null {
  const parts = DOTTED.exec(text);
  if (parts === null) return null;
  let value = 0;
  for (const part of parts.slice(1)) {
    // A leading zero is octal to some programs and decimal to others: not an address.
    if (Number(part) > 255 || (part.length > 1 && part.startsWith('0'))) return null;
    value = value * 256 + Number(part);
  }
  return value;
}

/** `10.5.52.0/24`; without a length the length is 32. Null if it is none or has host bits set. */
export function parsePrefix(text: string): Prefix | null {
  const [address = '', lengthText = '32', ...rest] = text.split('/');
  if (rest.length > 0 || !/^\d{1,2}$/.test(lengthText)) return null;
  const network = parseAddress(address);
  const length = Number(lengthText);
  if (network === null || length > 32) return null;
  return mask(network, length) === network ? { network, length } : null;
}

/** `10.5.52.0/24`, always with the length. */
export function formatPrefix(prefix: Prefix): string {
  return `${formatAddress(prefix.network)}/${prefix.length}`;
}

export function formatAddress(value: number): string {
  return `${value >>> 24}.${(value >>> 16) & 255}.${(value >>> 8) & 255}.${value & 255}`;
}

/** Whether `inner` lies wholly inside `outer`. */
export function contains(outer: Prefix, inner: Prefix): boolean {
  return inner.length >= outer.length && mask(inner.network, outer.length) === outer.network;
}

function mask(value: number, length: number): number {
  // A shift by 32 is a shift by 0 in JavaScript, so length 0 stands apart.
  return length === 0 ? 0 : (value & (-1 << (32 - length))) >>> 0;
}
