/** Twenty kinds of datagrams that a VTEP must not be moved by. */

/** Whom they are for, and who there is besides; addresses are dotted. */
export interface Victim {
  /** Of its VTEP, `02:00:00:00:00:01`. */
  readonly mac: string;
  /** An address in its subnet. */
  readonly inner: string;
  /** An address in the subnet of whoever sends, and one in a third peer's. */
  readonly own: string;
  readonly other: string;
}

/** The UDP payloads, each with its kind. */
export function hostileKinds({ mac, inner, own, other }: Victim): [string, Buffer][] {
  const good = frame(mac, packet(own, inner));
  const edited = (at: number, ...bytes: number[]): Buffer => {
    const copy = Buffer.from(good);
    copy.set(bytes, at);
    return copy;
  };
  const sealed = (at: number, ...bytes: number[]): Buffer => {
    const inside = packet(own, inner);
    inside.set(bytes, at);
    return frame(mac, seal(inside));
  };
  return [
    ['empty', Buffer.alloc(0)],
    ['a byte', Buffer.of(8)],
    ['a VXLAN header alone', good.subarray(0, 8)],
    ['cut in the Ethernet header', good.subarray(0, 21)],
    ['cut in the IPv4 header', good.subarray(0, 41)],
    ['no VNI flag', edited(0, 0)],
    ['another VNI', edited(6, 9)],
    ['ARP', edited(20, 0x08, 0x06)],
    ['a VLAN tag', edited(20, 0x81, 0x00)],
    ['IPv6', edited(20, 0x86, 0xdd)],
    ['another MAC', edited(8, 2, 9, 9, 9, 9, 9)],
    ['a group MAC', edited(8, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff)],
    ['IPv4 of version 5', sealed(0, 0x55)],
    ['a header of 16 bytes', sealed(0, 0x44)],
    ['longer than it is', sealed(2, 0x40, 0)],
    ['shorter than its header', sealed(2, 0, 19)],
    ['a bad header checksum', edited(32, 0xff, 0xff)],
    ['from our own subnet', frame(mac, packet(inner, inner))],
    ["from a third peer's subnet", frame(mac, packet(other, inner))],
    ['to somewhere else', frame(mac, packet(own, '8.8.8.8'))],
  ];
}

/** VXLAN with VNI 1, Ethernet to `mac`. */
function frame(mac: string, inside: Buffer): Buffer {
  const head = Buffer.from('08000000000001000000000000000200000000ff0800', 'hex');
  head.set(Buffer.from(mac.replaceAll(':', ''), 'hex'), 8);
  return Buffer.concat([head, inside]);
}

/** IPv4 and UDP to the discard port, 64 bytes. */
function packet(from: string, to: string): Buffer {
  const bytes = Buffer.alloc(64);
  bytes.set([0x45, 0, 0, bytes.length, 0, 0, 0, 0, 64, 17]);
  bytes.set(from.split('.').map(Number), 12);
  bytes.set(to.split('.').map(Number), 16);
  bytes.set([0, 9, 0, 9, 0, bytes.length - 20], 20);
  return seal(bytes);
}

function seal(bytes: Buffer): Buffer {
  bytes.writeUInt16BE(0, 10);
  let sum = 0;
  for (let at = 0; at < 20; at += 2) sum += bytes.readUInt16BE(at);
  while (sum > 0xffff) sum = (sum & 0xffff) + (sum >>> 16);
  bytes.writeUInt16BE(0xffff - sum, 10);
  return bytes;
}
