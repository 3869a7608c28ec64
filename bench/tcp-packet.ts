/** The inner packet that is measured with. */
import * as checksum from '../src/dataplane/wire/checksum.js';
import * as ipv4 from '../src/dataplane/wire/ipv4.js';
import * as tcp from '../src/dataplane/wire/tcp.js';

/** Bytes of its IPv4 and TCP headers, the timestamp among them. */
export const HEADERS = 20 + 32;

/** A TCP packet with a timestamp option, sums finished; addresses are int32, `payload` is in bytes. */
export function tcpPacket(source: number, destination: number, payload: number): Uint8Array {
  const bytes = new Uint8Array(HEADERS + payload).map((_, i) => i * 7);
  bytes.set([0x45, 0, 0, 0, 0, 0, 0x40, 0, 63, 6, 0, 0]);
  ipv4.setTotalLength(bytes, 0, bytes.length);
  new DataView(bytes.buffer).setInt32(12, source);
  new DataView(bytes.buffer).setInt32(16, destination);
  ipv4.seal(bytes, 0);
  bytes[32] = 0x80;
  tcp.setFlags(bytes, 20, tcp.ACK);
  tcp.setSum(bytes, 20, 0);
  const pseudo = checksum.pseudo(source, destination, 6, bytes.length - 20);
  const sum = checksum.add(pseudo, checksum.sum(bytes, 20, bytes.length - 20));
  tcp.setSum(bytes, 20, checksum.complement(sum));
  return bytes;
}
