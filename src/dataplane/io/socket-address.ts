/**
 * A row of the address table: a `struct sockaddr_in` or `sockaddr_in6` in 32 bytes.
 *
 *    0        2        4                8
 *    | family | port   | IPv4 address   |  zero        (host order, network order, network order)
 */
const AF_INET = 2;

/** Writes an IPv4 socket address. `address` is int32, `port` 0..65535. */
export function writeIpv4(bytes: Uint8Array, at: number, address: number, port: number): void {
  bytes[at] = AF_INET;
  bytes[at + 1] = 0;
  bytes[at + 2] = port >>> 8;
  bytes[at + 3] = port;
  bytes[at + 4] = address >>> 24;
  bytes[at + 5] = address >>> 16;
  bytes[at + 6] = address >>> 8;
  bytes[at + 7] = address;
}

export function isIpv4(bytes: Uint8Array, at: number): boolean {
  return bytes[at] === AF_INET && bytes[at + 1] === 0;
}

/** The IPv4 address as int32; ask `isIpv4` first. */
export function ipv4Address(bytes: Uint8Array, at: number): number {
  return (bytes[at + 4]! << 24) | (bytes[at + 5]! << 16) | (bytes[at + 6]! << 8) | bytes[at + 7]!;
}

export function port(bytes: Uint8Array, at: number): number {
  return (bytes[at + 2]! << 8) | bytes[at + 3]!;
}
